import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MAX_HEADER_BYTES } from "../../../gateway/common/protocol/frames.ts";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import type { GatewayMessage } from "../../../gateway/common/protocol/messages.ts";
import { KernelConnection } from "../../../gateway/server/kernel/connection.ts";
import type { RunLimits, RunRequest } from "../../../gateway/server/kernel/run.ts";
import { ECHO, LauncherStandIn, type SandboxStandIn, type Script } from "./launcher-stand-in.ts";

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

async function open(): Promise<KernelConnection> {
  const { socket, head } = await client.attach(sandbox.id);
  return KernelConnection.open(sandbox.id, socket, head);
}

const LIMITS: RunLimits = {
  stdout: 65536,
  stderr: 65536,
  collect: {
    max_files: 10,
    max_file_bytes: 10_000_000,
    max_total_bytes: 10_000_000,
    max_depth: 10,
    max_path_bytes: 256,
  },
};

/** Answers an input that the gateway breaks off. */
const TELLS_OF_ABORTED: Script = (message, body, box) => {
  if (message.msg_type === "execute_request") ECHO(message, body, box);
  if (message.msg_type === "chunk" && message.content?.aborted === true) {
    box.send({
      msg_type: "file_write_reply",
      parent_id: message.parent_id,
      content: { status: "error", message: "aborted" },
    });
  }
};

const run = (connection: KernelConnection, more: Partial<RunRequest> = {}, limits = LIMITS) =>
  connection.run(
    {
      language: "py",
      code: "code",
      args: [],
      timeoutMs: 1000,
      inputs: [],
      outputs: null,
      signal: new AbortController().signal,
      ...more,
    },
    limits,
  );

const ofType = <T extends GatewayMessage["msg_type"]>(type: T) =>
  sandbox.received.filter(
    (message): message is Extract<GatewayMessage, { msg_type: T }> => message.msg_type === type,
  );

describe("a call", () => {
  it("gathers both streams up to the reply", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") throw new Error(message.msg_type);
      box.print(message.msg_id, "out");
      box.print(message.msg_id, "err", "stderr");
      box.reply(message.msg_id);
    };
    const connection = await open();
    expect(connection.languages.map(({ id }) => id)).toEqual(["py", "bash"]);
    const result = await run(connection);
    expect(result).toMatchObject({ kind: "replied", stdout: "out", stderr: "err" });
    expect(connection.usable).toBe(true);
    connection.release();
  });

  it("sends code beyond one frame in pieces", async () => {
    const received: Buffer[] = [];
    const code = "x".repeat(2_500_000);
    launcher.script = (message, body, box) => {
      received.push(body);
      const [asked] = ofType("execute_request");
      if (asked === undefined) throw new Error(message.msg_type);
      if (Buffer.concat(received).length === asked.content.code_bytes) box.reply(asked.msg_id);
    };
    const connection = await open();
    expect((await run(connection, { code })).kind).toBe("replied");
    expect(Buffer.concat(received).toString()).toBe(code);
    connection.release();
  });
});

describe("arguments", () => {
  /** What the sandbox makes of a request whose arguments precede the code. */
  async function asRead(args: readonly string[], code: string) {
    let received = Buffer.alloc(0);
    launcher.script = (_message, body, box) => {
      const [asked] = ofType("execute_request");
      if (asked === undefined) throw new Error("no request");
      received = Buffer.concat([received, body]);
      const { args_bytes = 0, code_bytes } = asked.content;
      if (received.length === args_bytes + code_bytes) box.reply(asked.msg_id);
    };
    const connection = await open();
    expect((await run(connection, { args, code })).kind).toBe("replied");
    connection.release();
    const [asked] = ofType("execute_request");
    if (asked === undefined) throw new Error("no request");
    const { args_bytes = 0 } = asked.content;
    return {
      header: asked.content,
      args: args_bytes === 0 ? asked.content.args : JSON.parse(received.subarray(0, args_bytes).toString()),
      code: received.subarray(args_bytes).toString(),
    };
  }

  it.each([
    ["short ones in the header", ["a", "é"], false],
    ["a long one before the code", ["é".repeat(60_000), "b"], true],
    ["many together before the code", Array.from({ length: 16 }, () => "\n".repeat(131_071)), true],
  ])("go with the code, %s", async (_what, args, inBody) => {
    const read = await asRead(args, "print('ü')");
    expect(read).toMatchObject({ args, code: "print('ü')" });
    expect(read.header.args).toEqual(inBody ? [] : args);
    expect(read.header.code_bytes).toBe(11);
  });
});

it("says whether the code is a program or a cell", async () => {
  const connection = await open();
  await run(connection, { script: true });
  await run(connection);
  expect(ofType("execute_request").map(({ content }) => content.script)).toEqual([true, undefined]);
  connection.release();
});

describe("a header that grows too long", () => {
  const never = () => {
    throw new Error("an input was opened for a run that cannot be asked for");
  };
  const files = Array.from({ length: 1000 }, (_, i) => ({
    path: `${"f".repeat(80)}${i}`,
    size: 1,
    readOnly: false,
    open: never,
  }));
  const sink = { accept: never };

  it.each<[string, Partial<RunRequest>, string]>([
    [
      "tool names",
      { args: ["a"], tools: Array.from({ length: 100 }, () => ({ name: "€".repeat(256) })) },
      "The names of `tools` are too long together: 78001 bytes",
    ],
    [
      "file names",
      { args: ["a"], inputs: files, outputs: sink },
      "The names of `files` are too long together: 8",
    ],
  ])("is refused with what is too long: %s", async (_what, more, message) => {
    const connection = await open();
    const result = await run(connection, more);
    expect(result).toEqual({ kind: "too_large", message: expect.stringContaining(message) });
    expect(ofType("execute_request")).toEqual([]);
    expect(ofType("file_write_request")).toEqual([]);
    expect(await run(connection, { code: "next" })).toMatchObject({
      kind: "replied",
      stdout: "next",
    });
    connection.release();
  });

  it("is taken up to the last byte", async () => {
    const connection = await open();
    const named = (name: string) => run(connection, { tools: [{ name }] });
    expect((await named("")).kind).toBe("replied");
    const [asked] = ofType("execute_request");
    const room = MAX_HEADER_BYTES - Buffer.byteLength(JSON.stringify(asked));
    expect((await named("x".repeat(room))).kind).toBe("replied");
    expect((await named("x".repeat(room + 1))).kind).toBe("too_large");
    connection.release();
  });

  it("has room for tools with long descriptions: only their names go in", async () => {
    const connection = await open();
    const described = { name: "search", description: "d".repeat(70_000), parameters: { type: "object" } };
    const tools: RunRequest["tools"] = [described];
    expect((await run(connection, { tools })).kind).toBe("replied");
    expect(ofType("execute_request")[0]?.content.tools).toEqual([{ name: "search" }]);
    connection.release();
  });
});

describe("inputs", () => {
  it("writes files before the code and reports the one that failed", async () => {
    const written = new Map<string, string>();
    const bytes = new Map<string, Buffer[]>();
    launcher.script = (message, body, box) => {
      if (message.msg_type === "file_write_request") bytes.set(message.msg_id, []);
      if (message.msg_type !== "chunk") return;
      bytes.get(message.parent_id)?.push(body);
      if (message.content?.last !== true) return;
      const asked = ofType("file_write_request").find(({ msg_id }) => msg_id === message.parent_id);
      const path = asked?.content.path ?? "";
      written.set(path, Buffer.concat(bytes.get(message.parent_id) ?? []).toString());
      box.send({
        msg_type: "file_write_reply",
        parent_id: message.parent_id,
        content: path === "bad" ? { status: "error", message: "No space left" } : { status: "ok" },
      });
    };
    const input = (path: string, content: string) => ({
      path,
      size: content.length,
      readOnly: false,
      open: () => Readable.from(content.length === 0 ? [] : [Buffer.from(content)]),
    });
    const connection = await open();
    const result = await run(connection, {
      inputs: [input("a/b", "content"), input("empty", ""), input("bad", "x")],
    });
    expect(result).toEqual({ kind: "input_failed", path: "bad", message: "No space left" });
    expect(Object.fromEntries(written)).toEqual({ "a/b": "content", empty: "", bad: "x" });
    expect(ofType("execute_request")).toEqual([]);
    expect(connection.usable).toBe(true);
    connection.release();
  });

  it.each<[string, "taken" | "unwritable", boolean, { kind: string; path?: string; message?: string }]>([
    ["a taken place, a session", "taken", false, { kind: "replied" }],
    ["a taken place, a program", "taken", true, { kind: "replied" }],
    ["a full disk, a session", "unwritable", false, { kind: "replied" }],
    ["a full disk, a program", "unwritable", true, { kind: "input_failed", path: "a", message: "no room" }],
  ])("that find no place: %s", async (_what, left_out, script, expected) => {
    launcher.script = (message, body, box) => {
      if (message.msg_type === "execute_request") ECHO(message, body, box);
      if (message.msg_type !== "chunk" || message.content?.last !== true) return;
      box.send({
        msg_type: "file_write_reply",
        parent_id: message.parent_id,
        content: { status: "error", message: "no room", left_out },
      });
    };
    const connection = await open();
    const inputs = [{ path: "a", size: 1, readOnly: false, open: () => Readable.from([Buffer.from("x")]) }];
    expect(await run(connection, { inputs, script })).toMatchObject(expected);
    expect(ofType("execute_request")).toHaveLength(expected.kind === "replied" ? 1 : 0);
    connection.release();
  });

  it("tells the sandbox when the source breaks off, and goes on with the next call", async () => {
    launcher.script = TELLS_OF_ABORTED;
    const broken = () => {
      const source = new PassThrough();
      source.write("some");
      setImmediate(() => source.destroy(new Error("disk gone")));
      return source;
    };
    const connection = await open();
    const inputs = [{ path: "a", size: 10, readOnly: false, open: broken }];
    const failed = await run(connection, { inputs });
    expect(failed).toMatchObject({ kind: "input_failed", path: "a" });
    expect((await run(connection)).kind).toBe("replied");
    connection.release();
  });

  it("says so when a source cannot be opened, and goes on with the next call", async () => {
    launcher.script = TELLS_OF_ABORTED;
    const open_ = () => {
      throw new Error("no such object");
    };
    const connection = await open();
    const failed = await run(connection, { inputs: [{ path: "a", size: 1, readOnly: false, open: open_ }] });
    expect(failed).toMatchObject({ kind: "input_failed", path: "a" });
    expect((await run(connection)).kind).toBe("replied");
    connection.release();
  });

  it("gives up at once when the caller hangs up while a source stalls", async () => {
    const hangUp = new AbortController();
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "file_write_request") hangUp.abort();
      if (message.msg_type === "chunk" && message.content?.aborted === true) {
        box.send({
          msg_type: "file_write_reply",
          parent_id: message.parent_id,
          content: { status: "error", message: "aborted" },
        });
      }
    };
    const connection = await open();
    const inputs = [{ path: "a", size: 10, readOnly: false, open: () => new PassThrough() }];
    expect(await run(connection, { inputs, signal: hangUp.signal })).toEqual({ kind: "cancelled" });
    expect(connection.usable).toBe(true);
    connection.release();
  });
});

describe("outputs", () => {
  const sendFile = (box: SandboxStandIn, parent: string, path: string, content: Buffer) => {
    const id = `file-${path}`;
    box.send({
      msg_type: "file_output",
      msg_id: id,
      parent_id: parent,
      content: { path, size: content.length, change: "created" },
    });
    for (let at = 0; at < content.length; at += 100_000) {
      box.send({ msg_type: "chunk", parent_id: id }, content.subarray(at, at + 100_000));
    }
    box.send({ msg_type: "chunk", parent_id: id, content: { last: true } });
  };

  it("streams files one after another, at the pace of the sink", async () => {
    const content = Buffer.alloc(5_000_000, "x");
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") throw new Error(message.msg_type);
      sendFile(box, message.msg_id, "a", content);
      sendFile(box, message.msg_id, "empty", Buffer.alloc(0));
      sendFile(box, message.msg_id, "b", Buffer.from("second"));
      box.reply(message.msg_id);
    };
    const taken: string[] = [];
    let open_ = 0;
    const sink = {
      accept: async (file: { path: string }, body: Readable) => {
        open_ += 1;
        expect(open_).toBe(1);
        const read = await text(body);
        taken.push(`${file.path}:${read.length}`);
        await new Promise<void>((resolve) => setImmediate(resolve));
        open_ -= 1;
      },
    };
    const connection = await open();
    const result = await run(connection, { outputs: sink });
    expect(result).toMatchObject({ kind: "replied", undelivered: [] });
    expect(taken).toEqual(["a:5000000", "empty:0", "b:6"]);
    connection.release();
  });

  it("marks what the sink refused or what broke off, and reads on", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") throw new Error(message.msg_type);
      sendFile(box, message.msg_id, "refused", Buffer.alloc(3_000_000));
      box.send({
        msg_type: "file_output",
        msg_id: "f2",
        parent_id: message.msg_id,
        content: { path: "shrunk", size: 10, change: "modified" },
      });
      box.send({ msg_type: "chunk", parent_id: "f2", content: { aborted: true } });
      box.reply(message.msg_id);
    };
    const sink = {
      accept: async (file: { path: string }, body: Readable) => {
        if (file.path === "refused") throw new Error("disk full");
        await text(body);
      },
    };
    const connection = await open();
    const result = await run(connection, { outputs: sink });
    expect(result).toMatchObject({
      kind: "replied",
      undelivered: [
        { path: "refused", message: "disk full" },
        { path: "shrunk", message: "the file changed while it was read" },
      ],
    });
    connection.release();
  });
});

describe("tools", () => {
  it("answers the program's calls while it waits", async () => {
    launcher.script = (message, body, box) => {
      if (message.msg_type === "execute_request") {
        const calls = Buffer.from(JSON.stringify([{ id: "call_001", name: "f", input: { a: 1 } }]));
        box.send(
          {
            msg_type: "tool_call_request",
            msg_id: "t1",
            parent_id: message.msg_id,
            content: { calls_bytes: calls.length },
          },
          calls.subarray(0, 5),
        );
        box.send({ msg_type: "chunk", parent_id: "t1" }, calls.subarray(5));
      }
      if (message.msg_type === "tool_reply") {
        const call = ofType("execute_request")[0];
        if (call === undefined) throw new Error("no call");
        expect(message.parent_id).toBe("t1");
        box.print(call.msg_id, body.toString());
        box.reply(call.msg_id);
      }
    };
    const connection = await open();
    const result = await run(connection, {
      tools: [{ name: "f" }],
      onToolCalls: async (calls) => {
        expect(JSON.parse(calls.toString())).toEqual([{ id: "call_001", name: "f", input: { a: 1 } }]);
        return [Buffer.from('[{"call_id":'), Buffer.from('"call_001","result":2}]')];
      },
    });
    expect(result).toMatchObject({ stdout: '[{"call_id":"call_001","result":2}]' });
    connection.release();
  });
});

describe("tools of an interrupted program", () => {
  it("are not answered, and do not stop the clock of its end", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      let asked = 0;
      const again = Promise.withResolvers<void>();
      const askForTool = (box: SandboxStandIn, parent: string) => {
        asked += 1;
        const calls = Buffer.from(JSON.stringify([{ id: "call_001", name: "f", input: {} }]));
        box.send(
          {
            msg_type: "tool_call_request",
            msg_id: `t${asked}`,
            parent_id: parent,
            content: { calls_bytes: calls.length },
          },
          calls,
        );
      };
      launcher.script = (message, _body, box) => {
        if (message.msg_type === "execute_request") askForTool(box, message.msg_id);
        if (message.msg_type !== "interrupt_request") return;
        askForTool(box, message.parent_id);
        box.print(message.parent_id, "not done");
      };
      let answered = 0;
      const connection = await open();
      const running = run(connection, {
        tools: [{ name: "f" }],
        onToolCalls: async () => {
          answered += 1;
          throw new Error("no such tool");
        },
        onStream: () => again.resolve(),
      });
      await again.promise;
      await vi.advanceTimersByTimeAsync(10_001);
      expect(await running).toMatchObject({ kind: "lost", why: "deadline", stdout: "not done" });
      expect(answered).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a hostile sandbox", () => {
  const call = () => ofType("execute_request")[0]?.msg_id ?? "";
  const header = (value: unknown) => {
    const json = Buffer.from(JSON.stringify(value));
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32BE(json.length, 0);
    return Buffer.concat([prefix, json]);
  };

  it.each<[string, () => Buffer]>([
    ["a length that lies", () => Buffer.from("7fffffff00000000", "hex")],
    ["a body beyond the limit", () => Buffer.from("0000000200ffffff", "hex")],
    ["no JSON", () => Buffer.concat([Buffer.from("0000000300000000", "hex"), Buffer.from("abc")])],
    ["an unknown message", () => header({ msg_type: "exec_host", parent_id: call() })],
    [
      "another call's output",
      () => header({ msg_type: "stream", parent_id: "other", content: { name: "stdout" } }),
    ],
    ["another call's reply", () => header({ msg_type: "execute_reply", parent_id: "other", content: {} })],
    ["a chunk of nothing", () => header({ msg_type: "chunk", parent_id: "nothing" })],
    [
      "a file that nobody asked for",
      () =>
        header({
          msg_type: "file_output",
          msg_id: "f",
          parent_id: call(),
          content: { path: "a", size: 1, change: "created" },
        }),
    ],
    [
      "tools that nobody offered",
      () =>
        header({
          msg_type: "tool_call_request",
          msg_id: "t",
          parent_id: call(),
          content: { calls_bytes: 1 },
        }),
    ],
    [
      "a second hello",
      () =>
        header({
          msg_type: "hello_reply",
          parent_id: "x",
          content: { nonce: "", protocol_version: 1, languages: [], executing: null, execution_count: 0 },
        }),
    ],
    ["an answer to no interrupt", () => header({ msg_type: "interrupt_reply", parent_id: "x" })],
  ])("ends with %s", async (_what, lie) => {
    launcher.script = (_message, _body, box) => box.sendRaw(lie());
    const connection = await open();
    const result = await run(connection);
    expect(result).toMatchObject({ kind: "lost", why: "violation" });
    expect(await connection.ended).toMatchObject({ why: "violation" });
    expect(connection.usable).toBe(false);
  });

  it("ends with output far beyond its limit, and keeps none of it", async () => {
    const block = Buffer.alloc(1024 * 1024, "x");
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") return;
      for (let i = 0; i < 12; i++) {
        box.send({ msg_type: "stream", parent_id: message.msg_id, content: { name: "stdout" } }, block);
      }
    };
    const connection = await open();
    const result = await run(connection, {}, { ...LIMITS, stdout: 10 });
    expect(result).toMatchObject({ kind: "lost", why: "violation", stdout: "xxxxxxxxxx" });
  });

  it("ends when a message comes while nothing runs", async () => {
    const connection = await open();
    sandbox.print("x", "unasked");
    expect(await connection.ended).toMatchObject({ why: "violation" });
  });

  it("ends with a file longer than announced", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") return;
      box.send({
        msg_type: "file_output",
        msg_id: "f",
        parent_id: message.msg_id,
        content: { path: "a", size: 1, change: "created" },
      });
      box.send({ msg_type: "chunk", parent_id: "f" }, Buffer.from("too long"));
    };
    const connection = await open();
    const sink = {
      accept: async (_file: unknown, body: Readable) => void (await text(body).catch(() => "")),
    };
    const result = await run(connection, { outputs: sink });
    expect(result).toMatchObject({ kind: "lost", why: "violation", detail: "a file longer than announced" });
  });
});

describe("a restart", () => {
  it("is over when the sandbox says so, and the next call gets the kernel", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "shutdown_request")
        box.send({ msg_type: "shutdown_reply", parent_id: message.msg_id });
    };
    const connection = await open();
    const restarting = connection.restart();
    expect(connection.usable).toBe(false);
    expect(await restarting).toBe(true);
    launcher.script = ECHO;
    expect((await run(connection)).kind).toBe("replied");
    connection.release();
  });

  it("that is answered with something else ends the conversation", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "shutdown_request")
        box.send({ msg_type: "shutdown_reply", parent_id: "another" });
    };
    const connection = await open();
    expect(await connection.restart()).toBe(false);
    expect(await connection.ended).toMatchObject({ why: "violation" });
  });

  it("within which the sandbox goes is none", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "shutdown_request")
        setImmediate(() => box.die({ reason: "exited", exit_code: 0 }));
    };
    const connection = await open();
    expect(await connection.restart()).toBe(false);
  });
});

describe("ends", () => {
  it("says that the stream closed, with the output so far", async () => {
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "execute_request") return;
      box.print(message.msg_id, "so far");
      setImmediate(() => box.die({ reason: "exited", exit_code: 0 }));
    };
    const connection = await open();
    expect(await run(connection)).toMatchObject({ kind: "lost", why: "closed", stdout: "so far" });
  });

  it("interrupts when the caller hangs up, and the next call gets the kernel", async () => {
    const hangUp = new AbortController();
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "execute_request") hangUp.abort();
      if (message.msg_type !== "interrupt_request") return;
      box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      box.reply(message.parent_id, { status: "error", exit_code: 130, reason: "interrupted" });
    };
    const connection = await open();
    const result = await run(connection, { signal: hangUp.signal });
    expect(result).toMatchObject({ kind: "replied", reply: { reason: "interrupted" } });
    launcher.script = ECHO;
    expect((await run(connection)).kind).toBe("replied");
    connection.release();
  });

  it("ends a call for others, and its files and output are still wanted", async () => {
    const kept: string[] = [];
    const outputs = {
      accept: async (file: { path: string }, body: Readable) => {
        kept.push(`${file.path}: ${await text(body)}`);
      },
    };
    launcher.script = (message, _body, box) => {
      if (message.msg_type !== "interrupt_request") return;
      const { parent_id } = message;
      box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      box.print(parent_id, "so far");
      const content = { path: "a.txt", size: 1, change: "created" } as const;
      box.send({ msg_type: "file_output", msg_id: "f1", parent_id, content });
      box.send({ msg_type: "chunk", parent_id: "f1", content: { last: true } }, Buffer.from("x"));
      box.reply(parent_id, { status: "error", reason: "interrupted", signal: "SIGINT", exit_code: null });
    };
    const connection = await open();
    expect(connection.interrupt()).toBe(false);
    const result = run(connection, { outputs });
    await vi.waitUntil(() => ofType("execute_request").length === 1);
    expect(connection.interrupt()).toBe(true);
    expect(connection.interrupt()).toBe(true);
    expect(await result).toMatchObject({
      kind: "replied",
      stdout: "so far",
      reply: { reason: "interrupted" },
      undelivered: [],
    });
    expect(kept).toEqual(["a.txt: x"]);
    expect(ofType("interrupt_request")).toMatchObject([{ content: { wanted: true } }]);
    expect(connection.interrupt()).toBe(false);
    connection.release();
  });

  it("ends a call that has not begun as soon as it begins, whether or not its caller hangs up then", async () => {
    const hangUp = new AbortController();
    launcher.script = (message, _body, box) => {
      if (message.msg_type === "chunk" && message.content?.last === true) {
        expect(connection.interrupt()).toBe(true);
        box.send({ msg_type: "file_write_reply", parent_id: message.parent_id, content: { status: "ok" } });
      }
      if (message.msg_type !== "interrupt_request") return;
      box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      if (message.content.wanted) hangUp.abort();
      else box.reply(message.parent_id, { status: "aborted", reason: "interrupted" });
    };
    const connection = await open();
    const input = { path: "in.txt", size: 1, readOnly: false, open: () => Readable.from([Buffer.from("x")]) };
    expect(await run(connection, { inputs: [input], signal: hangUp.signal })).toMatchObject({
      kind: "replied",
      reply: { status: "aborted", reason: "interrupted" },
    });
    expect(ofType("interrupt_request")).toMatchObject([
      { content: { wanted: true } },
      { content: { wanted: false } },
    ]);
    connection.release();
  });

  it("interrupts a call that nobody waits for any more before it says hello back", async () => {
    sandbox.executing = "orphan";
    launcher.script = (message, body, box) => {
      if (message.msg_type === "execute_request") {
        ECHO(message, body, box);
        return;
      }
      if (message.msg_type !== "interrupt_request") throw new Error(message.msg_type);
      expect(message.parent_id).toBe("orphan");
      box.print("orphan", "leftover");
      box.reply("orphan", { status: "error", reason: "interrupted" });
      box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
    };
    const connection = await open();
    expect(await run(connection, { code: "next" })).toMatchObject({
      kind: "replied",
      stdout: "next",
    });
    connection.release();
  });

  it("rejects a sandbox that greets with a lie", async () => {
    launcher.greets = false;
    launcher.script = (_message, _body, box) => box.sendRaw(Buffer.from("ffffffffffffffff", "hex"));
    await expect(open()).rejects.toThrow("header length");
  });
});
