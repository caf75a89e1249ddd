/** What only a real server and real sockets show: hanging up, kept connections, bodies in chunks, bodies too large. */
import { once } from "node:events";
import { Agent, type ClientRequest, type RequestOptions, request } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LauncherStandIn } from "../sessions/launcher-stand-in.ts";
import { KEY, startBehindStandIn, type startGateway, until } from "./gateway-under-test.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;
let end: () => Promise<void>;
let server: ReturnType<typeof createAdaptorServer>;
let port: number;

beforeEach(async () => {
  ({ launcher, gateway, end } = await startBehindStandIn());
  server = createAdaptorServer({ fetch: gateway.app.fetch });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address !== null ? address.port : 0;
});

afterEach(async () => {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    if ("closeAllConnections" in server) server.closeAllConnections();
  });
  await end();
});

const post = (options: RequestOptions = {}): ClientRequest =>
  request({
    host: "127.0.0.1",
    port,
    path: "/v1/run",
    method: "POST",
    ...options,
    headers: { "x-api-key": KEY, "content-type": "application/json", ...options.headers },
  });

async function reply(call: ClientRequest): Promise<{ status: number; body: string }> {
  const [response] = await once(call, "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

const BODY = JSON.stringify({ session_id: "s", code: "hello" });

describe("over sockets", () => {
  it("takes bodies in chunks", async () => {
    const call = post();
    call.write(BODY.slice(0, 10));
    call.end(BODY.slice(10));
    expect(await reply(call)).toMatchObject({ status: 200, body: expect.stringContaining("hello") });
  });

  it("keeps connections alive", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let i = 0; i < 3; i++) {
      const call = post({ agent });
      call.on("socket", (socket) => ports.add(socket.localPort));
      call.end(BODY);
      expect((await reply(call)).status).toBe(200);
      ports.add(call.socket?.localPort);
    }
    agent.destroy();
    expect([...ports].filter((value) => value !== undefined)).toHaveLength(1);
  });

  it("interrupts when the connection is cut, and serves the next call", async () => {
    let executing = "";
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") executing = message.msg_id;
      if (message.msg_type !== "interrupt_request") return;
      sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      sandbox.reply(executing, { status: "error", reason: "interrupted" });
      executing = "interrupted";
    };
    const call = post();
    call.on("error", () => {});
    call.end(BODY);
    await until(() => executing !== "");
    call.destroy();
    await until(() => executing === "interrupted");
    expect(launcher.live).toHaveLength(1);
  });

  it("answers 413 to a body that grows beyond its limit, and to one that says so", async () => {
    const declared = post({ headers: { "content-length": String(9 * 1024 * 1024) } });
    declared.on("error", () => {});
    declared.flushHeaders();
    expect((await reply(declared)).status).toBe(413);
    declared.destroy();

    const chunked = post();
    chunked.on("error", () => {});
    const block = Buffer.alloc(1024 * 1024, "x");
    for (let i = 0; i < 9; i++) chunked.write(block);
    expect((await reply(chunked)).status).toBe(413);
    chunked.destroy();
    expect(launcher.created).toBe(0);
  });
});
