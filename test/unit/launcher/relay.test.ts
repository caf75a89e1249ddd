import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeFrame, FrameDecoder, MAX_BODY_BYTES } from "../../../gateway/common/protocol/frames.ts";
import { Relay } from "../../../gateway/launcher/relay/relay.ts";
import { attachFrame, helloReply } from "./engine-side.ts";

/** Real unix sockets: `pair` gives both ends of one connection. */
const directory = mkdtempSync(join(tmpdir(), "kernelyard-relay-"));
const path = join(directory, "socket");
const accepted: ((socket: Socket) => void)[] = [];
const server = createServer({ allowHalfOpen: true }, (socket) => accepted.shift()?.(socket));
const open: Socket[] = [];

beforeEach(async () => {
  if (!server.listening) await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  rmSync(path, { force: true });
});
afterAll(() => rmSync(directory, { recursive: true }));

async function pair(): Promise<[Socket, Socket]> {
  const far = new Promise<Socket>((resolve) => accepted.push(resolve));
  const near = connect({ path, allowHalfOpen: true });
  const both: [Socket, Socket] = [near, await far];
  for (const socket of both) socket.on("error", () => {});
  open.push(...both);
  return both;
}

class Counter {
  uses = 0;
  first = 0;
  attached: boolean[] = [];
  broken: string[] = [];
  diagnostics = "";
  readonly ended = Promise.withResolvers<void>();
  readonly broke = Promise.withResolvers<string>();
}

async function setUp(used = false) {
  const [engineEnd, sandbox] = await pair();
  const seen = new Counter();
  const relay = new Relay(
    engineEnd,
    {
      firstUse: () => {
        seen.uses++;
      },
      firstExecute: () => {
        seen.first++;
      },
      attachedChanged: (attached) => seen.attached.push(attached),
      broken: (message) => {
        seen.broken.push(message);
        seen.broke.resolve(message);
      },
      ended: () => seen.ended.resolve(),
      diagnostics: (slice) => {
        seen.diagnostics += slice.toString();
      },
    },
    used,
  );
  const attach = async () => {
    const [gateway, launcherEnd] = await pair();
    relay.attach(launcherEnd, Buffer.alloc(0));
    return new Reader(gateway);
  };
  return { relay, seen, sandbox: new Reader(sandbox), attach };
}

/** Reads frames from a socket, one at a time. */
class Reader {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  readonly #decoder = new FrameDecoder();
  readonly #frames: string[] = [];
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      for (const frame of this.#decoder.push(Buffer.from(chunk))) {
        this.#frames.push(`${frame.header.toString()}|${frame.body.length}`);
      }
      this.#wake?.();
    });
    this.closed = new Promise((resolve) => {
      socket.on("close", () => resolve());
      socket.on("end", () => {
        socket.end();
        resolve();
      });
    });
  }

  get pendingBytes(): number {
    return this.#decoder.pendingBytes;
  }

  async next(): Promise<string> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves when this many bytes of an incomplete frame are there. */
  async pending(bytes: number): Promise<void> {
    while (this.#decoder.pendingBytes < bytes) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  write(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }
}

const named = (n: number | string, bytes = 0) => encodeFrame({ n }, Buffer.alloc(bytes));
const text = (n: number | string, bytes = 0) => `{"n":${JSON.stringify(n)}}|${bytes}`;

describe("towards the sandbox", () => {
  test("frames arrive whole, whatever the reads", async () => {
    const { attach, sandbox } = await setUp(true);
    const gateway = await attach();
    const bytes = Buffer.concat([named(1, 10), named(2), named(3, 70_000)]);
    for (let at = 0; at < bytes.length; at += 1009) await gateway.write(bytes.subarray(at, at + 1009));
    expect([await sandbox.next(), await sandbox.next(), await sandbox.next()]).toEqual([
      text(1, 10),
      text(2),
      text(3, 70_000),
    ]);
  });

  test("a half frame of a gateway that dies never reaches it; the next gateway's frames do", async () => {
    const { attach, sandbox, seen } = await setUp(true);
    const dying = await attach();
    await dying.write(Buffer.concat([named("whole"), named("half", 1000).subarray(0, 500)]));
    expect(await sandbox.next()).toBe(text("whole"));
    dying.socket.destroy();
    const next = await attach();
    await next.write(named("after"));
    expect(await sandbox.next()).toBe(text("after"));
    expect(sandbox.pendingBytes).toBe(0);
    expect(seen.attached.at(-1)).toBe(true);
  });

  test("a newer gateway takes over and the older one's half frame is dropped", async () => {
    const { attach, sandbox } = await setUp(true);
    const older = await attach();
    await older.write(Buffer.concat([named("whole"), named("half", 100).subarray(0, 50)]));
    expect(await sandbox.next()).toBe(text("whole"));
    const newer = await attach();
    await older.closed;
    await newer.write(named("newer"));
    expect(await sandbox.next()).toBe(text("newer"));
  });

  test("a gateway that lies about a length loses its place, the sandbox does not", async () => {
    const { attach, sandbox, seen } = await setUp(true);
    const liar = await attach();
    await liar.write(Buffer.from([0x7f, 0, 0, 0, 0, 0, 0, 0]));
    await liar.closed;
    const honest = await attach();
    await honest.write(named("fine"));
    expect(await sandbox.next()).toBe(text("fine"));
    expect(seen.broken).toEqual([]);
  });

  test("anything but a hello is use, once, before it is passed on", async () => {
    const { attach, relay, sandbox, seen } = await setUp();
    const gateway = await attach();
    for (const nonce of ["a", "b"]) {
      await gateway.write(encodeFrame({ msg_type: "hello_request", content: { nonce } }));
      await sandbox.next();
    }
    expect([seen.uses, relay.used]).toEqual([0, false]);
    const input = encodeFrame({ msg_type: "file_write_request", content: { path: "private.csv" } });
    await gateway.write(input.subarray(0, -1));
    expect([seen.uses, relay.used]).toEqual([0, false]);
    await gateway.write(Buffer.concat([input.subarray(-1), encodeFrame({ msg_type: "chunk" })]));
    await sandbox.next();
    expect([seen.uses, seen.first, relay.used]).toEqual([1, 0, true]);
  });

  test.each([
    ["a header without a type", encodeFrame({ n: 1 })],
    ["a type that is no text", encodeFrame({ msg_type: ["hello_request"] })],
    ["a header that is no JSON", Buffer.concat([Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]), Buffer.from("{!")])],
  ])("%s is use and may be code", async (_what, frame) => {
    const { attach, relay, sandbox, seen } = await setUp();
    await (await attach()).write(frame);
    await sandbox.next();
    expect([seen.uses, seen.first, relay.used]).toEqual([1, 1, true]);
  });

  test("the first execute_request is announced before it is passed on", async () => {
    const { attach, relay, sandbox, seen } = await setUp();
    const gateway = await attach();
    const request = encodeFrame({ msg_type: "execute_request" }, Buffer.alloc(200_000));
    await gateway.write(Buffer.concat([encodeFrame({ msg_type: "chunk" }), request.subarray(0, 20)]));
    await sandbox.next();
    expect(seen.first).toBe(0);
    await gateway.write(Buffer.concat([request.subarray(20), request]));
    await sandbox.next();
    await sandbox.next();
    expect([seen.uses, seen.first, relay.used]).toEqual([1, 1, true]);
  });

  test("any sequence, cut anywhere, arrives as it was sent", async () => {
    const { attach, sandbox } = await setUp();
    const gateway = await attach();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ n: fc.nat(), bytes: fc.nat(3000), use: fc.boolean() }), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 5 }),
        async (given, cuts) => {
          const headers = given.map(({ n, use }) => ({ msg_type: use ? "execute_request" : "chunk", n }));
          const bytes = Buffer.concat(
            given.map(({ bytes }, i) => encodeFrame(headers[i] ?? {}, Buffer.alloc(bytes))),
          );
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % cuts.length] ?? 1;
            gateway.socket.write(bytes.subarray(at, at + size));
            at += size;
          }
          for (const [i, { bytes }] of given.entries()) {
            expect(await sandbox.next()).toBe(`${JSON.stringify(headers[i])}|${bytes}`);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("towards the gateway", () => {
  test("frames go on as they come, across the engine's own framing", async () => {
    const { attach, sandbox } = await setUp();
    const gateway = await attach();
    const frame = named("split", 5000);
    await sandbox.write(attachFrame(frame.subarray(0, 3)));
    await sandbox.write(attachFrame(frame.subarray(3, 700)));
    await gateway.pending(700);
    await sandbox.write(Buffer.concat([attachFrame(frame.subarray(700)), attachFrame(named("next"))]));
    expect([await gateway.next(), await gateway.next()]).toEqual([text("split", 5000), text("next")]);
  });

  test("without a gateway frames are dropped, and the next gateway begins on a boundary", async () => {
    const { attach, sandbox } = await setUp();
    const first = await attach();
    await sandbox.write(attachFrame(named("seen")));
    expect(await first.next()).toBe(text("seen"));
    const half = named("cut", 1000);
    await sandbox.write(attachFrame(half.subarray(0, 400)));
    await first.pending(400);
    first.socket.destroy();
    const second = await attach();
    await sandbox.write(attachFrame(Buffer.concat([half.subarray(400), named("first for the second")])));
    expect(await second.next()).toBe(text("first for the second"));
  });

  test("diagnostics stay apart", async () => {
    const { attach, sandbox, seen } = await setUp();
    const gateway = await attach();
    await sandbox.write(
      Buffer.concat([attachFrame(Buffer.from("a warning"), 2), attachFrame(named("frame"))]),
    );
    expect(await gateway.next()).toBe(text("frame"));
    expect(seen.diagnostics).toBe("a warning");
  });

  test.each([
    ["a lying header length", attachFrame(Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]))],
    ["a lying body length", attachFrame(Buffer.from([0, 0, 0, 2, 0x7f, 0, 0, 0]))],
    ["an engine stream that is none", Buffer.from("HTTP/1.1 500 Oops")],
  ])("%s is told, attached or not", async (_what, bytes) => {
    for (const attached of [true, false]) {
      const { attach, sandbox, seen } = await setUp();
      if (attached) await attach();
      await sandbox.write(bytes);
      expect(await seen.broke.promise).not.toBe("");
    }
  });

  test("a gateway that does not read stops the sandbox, within bounds, and nobody else", async () => {
    const { attach, relay, sandbox, seen } = await setUp();
    const gateway = await attach();
    gateway.socket.pause();
    const frame = attachFrame(named("big", MAX_BODY_BYTES));
    let written = 0;
    // Until the kernel's buffers are full: then a write does not finish while others still could.
    for (let stalled = false; !stalled && written < 64; ) {
      stalled = !sandbox.socket.write(frame) && (await notDrained(sandbox.socket));
      written++;
    }
    expect(written).toBeLessThan(16);
    const inLauncher = open.reduce(
      (sum, socket) => sum + (socket === sandbox.socket ? 0 : socket.writableLength),
      0,
    );
    expect(inLauncher).toBeLessThan(512 * 1024);
    gateway.socket.destroy();
    // Nobody reads any more: everything is dropped, and the end comes through.
    sandbox.socket.end();
    await seen.ended.promise;
    expect(relay.attached).toBe(false);
  });

  test("the end of the sandbox's stream is told once", async () => {
    const { attach, sandbox, seen } = await setUp();
    await attach();
    sandbox.socket.destroy();
    await seen.ended.promise;
  });
});

describe("a launcher's own hello", () => {
  test("is found in the middle of a frame whose start nobody saw", async () => {
    const { attach, relay, sandbox } = await setUp(true);
    const answered = relay.probe(5_000);
    const asked: unknown = JSON.parse((await sandbox.next()).split("|")[0] ?? "");
    const { msg_id, content } = asked as { msg_id: string; content: { nonce: string } };
    const reply = helloReply(msg_id, content.nonce);
    const rest = named("unseen start", 90_000).subarray(1234);
    await sandbox.write(attachFrame(Buffer.concat([rest, reply.subarray(0, 40)])));
    await sandbox.write(attachFrame(Buffer.concat([reply.subarray(40), named("cut", 50).subarray(0, 30)])));
    expect(await answered).toBe(true);
    const gateway = await attach();
    await sandbox.write(attachFrame(Buffer.concat([named("cut", 50).subarray(30), named("mine")])));
    expect(await gateway.next()).toBe(text("mine"));
  });

  test("without an answer is false, as is one with a foreign nonce", async () => {
    const { relay, sandbox } = await setUp(true);
    const answered = relay.probe(100);
    await sandbox.next();
    await sandbox.write(attachFrame(helloReply("x", "other")));
    expect(await answered).toBe(false);
  });

  test("ends at once when the stream ends", async () => {
    const { relay, sandbox } = await setUp(true);
    const answered = relay.probe(60_000);
    await sandbox.next();
    sandbox.socket.destroy();
    expect(await answered).toBe(false);
  });
});

/** True when the socket cannot send although everything between has had its turns. */
async function notDrained(socket: Socket): Promise<boolean> {
  for (let turns = 0; turns < 50 && socket.writableNeedDrain; turns++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return socket.writableNeedDrain;
}
