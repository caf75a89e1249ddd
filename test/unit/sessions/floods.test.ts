/** What a sandbox sends in very small or padded pieces costs what it weighs, and keeps nobody else waiting. */
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeFrame, FrameDecoder } from "../../../gateway/common/protocol/frames.ts";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import type { SandboxMessage } from "../../../gateway/common/protocol/messages.ts";
import { KernelConnection } from "../../../gateway/server/kernel/connection.ts";
import { FrameReader } from "../../../gateway/server/kernel/frame-reader.ts";
import { OutputBuffer } from "../../../gateway/server/kernel/output-buffer.ts";
import { LauncherStandIn, type SandboxStandIn } from "./launcher-stand-in.ts";

const READ = 64 * 1024;

describe("memory", () => {
  it("of output is that of its bytes, however they come", () => {
    const buffer = new OutputBuffer(65_536);
    // Each in a read of its own, as a padded frame makes it.
    for (let i = 0; i < 3_000; i++) buffer.push(Buffer.alloc(READ, "x").subarray(0, 1));
    expect(buffer.received).toBe(3_000);
    expect(buffer.capacity).toBeLessThanOrEqual(4_096);
    buffer.push(Buffer.alloc(10_000_000, "y"));
    expect(buffer.capacity).toBe(65_536 * 3);
  });

  it("of a body that a reader hands out is its own, not that of the read it came in", () => {
    const bodies: Buffer[] = [];
    const reader = new FrameReader({
      socket: stillSocket(),
      onMessage: (_message, body) => bodies.push(body),
      onBroken: (detail) => expect.fail(detail),
    });
    const message = {
      msg_type: "stream",
      parent_id: "c",
      content: { name: "stdout" },
      pad: "p".repeat(60_000),
    };
    const reads = Array.from({ length: 30 }, () => encodeFrame(message, Buffer.from("x")));
    for (const read of reads) reader.receive(read);
    expect(bodies).toHaveLength(30);
    const held = new Set(bodies.map(({ buffer }) => buffer));
    expect(reads.filter(({ buffer }) => held.has(buffer))).toEqual([]);
  });

  it("of a frame that comes byte by byte is not an object for each", () => {
    const decoder = new FrameDecoder();
    const frame = encodeFrame({ msg_type: "chunk", parent_id: "c" }, Buffer.alloc(20_000, "x"));
    let whole = 0;
    for (const byte of frame) for (const { body } of decoder.push(Buffer.from([byte]))) whole += body.length;
    expect(whole).toBe(20_000);
  });
});

/** No bytes come from here; strict in that only reading can be stopped and begun. */
function stillSocket() {
  const seen = { paused: false };
  const socket = new Proxy({} as Socket, {
    get(_target, name) {
      if (name === "pause") return () => Object.assign(seen, { paused: true });
      if (name === "resume") return () => Object.assign(seen, { paused: false });
      if (name === "seen") return seen;
      throw new Error(`the reader did something else with its socket: ${String(name)}`);
    },
  });
  return socket;
}

describe("a reader", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const flood = (frames: number, padding = 0) => {
    const message = {
      msg_type: "stream",
      parent_id: "c",
      content: { name: "stdout" },
      ...(padding > 0 ? { pad: "p".repeat(padding) } : {}),
    } as const;
    return Buffer.concat(Array.from({ length: frames }, () => encodeFrame(message, Buffer.from("x"))));
  };
  const open = () => {
    const messages: SandboxMessage[] = [];
    const socket = stillSocket();
    const onBroken = (detail: string) => expect.fail(detail);
    const reader = new FrameReader({ socket, onMessage: (message) => messages.push(message), onBroken });
    return { messages, reader };
  };

  it("hands out a few hundred frames in one turn and some thousands in a second, and loses none", async () => {
    const { messages, reader } = open();
    reader.receive(flood(20_000));
    expect(messages.length).toBe(256);
    await vi.advanceTimersByTimeAsync(100);
    expect(messages.length).toBeLessThanOrEqual(4_000 + 400 + 256);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(messages.length).toBeLessThanOrEqual(8_000 + 400 + 256);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(messages.length).toBe(20_000);
  });

  it("counts long headers as what they cost", async () => {
    const { messages, reader } = open();
    reader.receive(flood(200, 60_000));
    await vi.advanceTimersByTimeAsync(100);
    expect(messages.length).toBeLessThanOrEqual(45);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(messages.length).toBe(200);
  });

  it("waits for its consumer and for its share alike", async () => {
    const { messages, reader } = open();
    reader.receive(flood(300));
    reader.block("sink");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(messages.length).toBe(256);
    reader.unblock("sink");
    expect(messages.length).toBe(300);
  });
});

describe("a sandbox that sends nothing, again and again", () => {
  let launcher: LauncherStandIn;
  let client: LauncherClient;
  let sandbox: SandboxStandIn;
  beforeEach(async () => {
    launcher = new LauncherStandIn();
    await launcher.start();
    client = new LauncherClient(launcher.socketPath);
    sandbox = launcher.add({ kind: "fresh", profile: "default" });
  });
  afterEach(async () => {
    client.close();
    await launcher.dispose();
  });

  const LIMITS = {
    stdout: 65536,
    stderr: 65536,
    collect: { max_files: 1, max_file_bytes: 100, max_total_bytes: 100, max_depth: 1, max_path_bytes: 100 },
  };
  const drop = { accept: async (_file: unknown, body: Readable) => void body.resume() };

  it.each<[string, (box: SandboxStandIn, call: string) => void]>([
    ["output", (box, call) => box.print(call, "")],
    [
      "a file",
      (box, call) => {
        const content = { path: "a", size: 10, change: "created" } as const;
        box.send({ msg_type: "file_output", msg_id: "f", parent_id: call, content });
        box.send({ msg_type: "chunk", parent_id: "f" });
      },
    ],
    [
      "tool calls",
      (box, call) => {
        const content = { calls_bytes: 10 };
        box.send({ msg_type: "tool_call_request", msg_id: "t", parent_id: call, content }, Buffer.from("["));
        box.send({ msg_type: "chunk", parent_id: "t" });
      },
    ],
  ])("breaks the protocol: an empty piece of %s", async (_what, send) => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "execute_request") send(box, message.msg_id);
    };
    const { socket, head } = await client.attach(sandbox.id);
    const connection = await KernelConnection.open(sandbox.id, socket, head);
    const result = await connection.run(
      {
        language: "py",
        code: "1",
        args: [],
        timeoutMs: 1000,
        inputs: [],
        outputs: drop,
        tools: [{ name: "f" }],
        onToolCalls: async () => [],
        signal: new AbortController().signal,
      },
      LIMITS,
    );
    expect(result).toMatchObject({
      kind: "lost",
      why: "violation",
      detail: expect.stringContaining("empty piece"),
    });
  });
});
