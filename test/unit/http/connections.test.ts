/** Who holds a connection and does nothing with it keeps nobody else out. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { pipeline, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { guardConnections } from "../../../gateway/server/http/intake/connections.ts";

const open: Socket[] = [];
let server: Server;

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
});

const LIMITS = { most: 20, headerMs: 60_000, stallMs: 60_000, pipelined: 2 };

async function serve(limits: Partial<typeof LIMITS> = {}, handler?: Parameters<typeof createServer>[1]) {
  server = createServer(
    { connectionsCheckingInterval: 20 },
    handler ?? ((_request, response) => response.end("served")),
  );
  guardConnections(server, { ...LIMITS, ...limits });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}

async function client(): Promise<Socket> {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const socket = connect(address.port, "127.0.0.1");
  socket.on("error", () => {});
  // An end is noticed by reading.
  socket.resume();
  open.push(socket);
  await once(socket, "connect");
  return socket;
}

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const closed = (socket: Socket) => (socket.destroyed ? Promise.resolve() : once(socket, "close"));

/** Asks, and reads the answer to its last word. */
async function ask(socket: Socket): Promise<string> {
  let said = "";
  const answered = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("served")) resolve();
    });
  });
  socket.write(GET);
  await Promise.race([answered, closed(socket)]);
  return said;
}

describe("connections", () => {
  it("that are idle give way to new ones, however many there are, those that were never served first", async () => {
    await serve();
    const known = await client();
    expect(await ask(known)).toContain("served");
    const idle: Socket[] = [];
    for (let i = 0; i < 100; i++) idle.push(await client());
    const next = await client();
    expect(await ask(next)).toContain("served");
    await closed(idle[0] ?? next);
    expect(known.destroyed).toBe(false);
    expect(await ask(known)).toContain("served");
  });

  it("with requests give way to nobody; the new one is closed", async () => {
    const waiting: (() => void)[] = [];
    await serve({ most: 3 }, (_request, response) => void waiting.push(() => response.end("served")));
    const busy = await Promise.all([client(), client(), client()]);
    const answers = busy.map(ask);
    await expect.poll(() => waiting.length).toBe(3);
    await closed(await client());
    for (const answer of waiting) answer();
    for (const answer of answers) expect(await answer).toContain("served");
  });

  it("that never finish a header are ended", async () => {
    await serve({ headerMs: 50 });
    const slow = await client();
    slow.write("GET / HTTP/1.1\r\nX: ");
    expect(await text(slow)).toContain("408");
  });

  it("that say nothing are ended", async () => {
    await serve({ headerMs: 50 });
    await closed(await client());
  });

  it("whose body does not come on are ended; one that this side does not read is not", async () => {
    let ended = 0;
    await serve({ stallMs: 200 }, (request, response) => {
      request.on("close", () => {
        if (!request.complete) ended += 1;
      });
      if (request.url === "/read") request.resume();
      else setTimeout(() => response.end("served"), 600);
    });
    const [slow, unread] = [await client(), await client()];
    slow.write("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx");
    unread.write("POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx");
    const answer = once(unread, "data");
    await closed(slow);
    await expect.poll(() => ended).toBe(1);
    expect(String((await answer)[0])).toContain("200 OK");
  });

  it("that do not read their answer are ended, those that read slowly are served", async () => {
    const block = Buffer.alloc(64 * 1024, "x");
    const large = Array.from({ length: 512 }, () => block);
    const bytes = block.length * large.length;
    await serve({ stallMs: 300 }, (_request, response) => {
      pipeline(Readable.from(large), response, () => {});
    });
    const [deaf, slow] = [await client(), await client()];
    deaf.pause();
    deaf.write(GET);
    let read = 0;
    slow.on("data", (chunk: Buffer) => {
      read += chunk.length;
      slow.pause();
      setTimeout(() => slow.resume(), 1);
    });
    slow.write(GET);
    await expect.poll(() => read, { timeout: 20_000 }).toBeGreaterThan(bytes);
    deaf.resume();
    await closed(deaf);
    expect(deaf.bytesRead).toBeLessThan(bytes);
  });

  it("with many requests before the first reply are ended", async () => {
    await serve({}, () => {});
    const eager = await client();
    eager.write(GET.repeat(3));
    await closed(eager);
  });
});
