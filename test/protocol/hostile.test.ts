import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  encodeFrame,
  FrameDecoder,
  FrameError,
  MAX_BODY_BYTES,
  MAX_HEADER_BYTES,
} from "../../gateway/common/protocol/frames.ts";
import { parseSandboxMessage } from "../../gateway/common/protocol/messages.ts";
import { startNoise } from "./noise.ts";
import { Supervised } from "./supervised.ts";

describe("code that attacks its surroundings", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);
  const alive = async () => expect((await run("print(6 * 7)")).stdout).toBe("42\n");

  test("garbage on every descriptor", async () => {
    for (const garbage of ["b'garbage' * 10", "b'\\x00\\x00\\x00\\x02{}' * 3", "b'\\xff' * 100"]) {
      const outcome = await run(
        `import os\nfor fd in os.listdir('/proc/self/fd'):\n    try: os.write(int(fd), ${garbage})\n    except OSError: pass\nimport time; time.sleep(0.2)`,
      );
      expect(outcome.reply).toMatchObject({ status: "error", reason: "kernel_died", kernel: "restarted" });
      expect(outcome.stderr).toContain("its control channel was closed or written to");
      await alive();
    }
  });

  test("a forged end of the call", async () => {
    const outcome = await run(
      `import json, os, struct\ntext = json.dumps({'run': 99999, 'count': 1, 'exit_code': 0}).encode()\nfor fd in range(3, 4000):\n    try: os.write(fd, struct.pack('>I', len(text)) + text)\n    except OSError: pass\nprint('still here')\nimport time; time.sleep(0.2)`,
    );
    expect(outcome.reply).toMatchObject({ reason: "kernel_died", kernel: "restarted" });
    await alive();
  });

  test("every descriptor closed", async () => {
    const outcome = await run("import os\nos.closerange(0, 4096)");
    expect(outcome.reply.kernel).toBe("restarted");
    await alive();
  });

  test("the descriptors of the supervisor and of the template are out of reach", async () => {
    const outcome = await run(
      `import os\npids = [os.getppid(), ${sandbox.process.pid}]\nfor pid in pids:\n    status = open(f'/proc/{pid}/status').read()\n    print(os.stat(f'/proc/{pid}/environ').st_uid == 0)`,
    );
    // Root in this test may still open them; that they belong to root is what keeps the image's user out.
    expect(outcome.stdout).toBe("True\nTrue\n");
    const own = readFileSync(`/proc/${sandbox.process.pid}/status`, "utf8");
    expect(own).toContain("State");
  });

  test("everything but the supervisor killed: template and kernel start again", async () => {
    const outcome = await run("kill -9 $(pgrep -P $PPID); sleep 5", { language: "bash" });
    expect(outcome.reply.signal).toBe("SIGKILL");
    await alive();
    const fromPython = await run("import os\nos.kill(os.getppid(), 9)\nos.kill(os.getpid(), 9)");
    expect(fromPython.reply).toMatchObject({ reason: "kernel_died", kernel: "restarted" });
    await alive();
  });

  test("a call that comes while the next template starts is run as soon as that is ready", async () => {
    const fresh = { script: true };
    await run("", fresh);
    // The first pattern would match this shell's own command line otherwise.
    const template = "pgrep -P $PPID -f '[k]ernel/__main__.py'";
    await run(`kill -9 $(${template}); until ${template}; do sleep 0.01; done`, {
      ...fresh,
      language: "bash",
    });
    expect((await run("print(6 * 7)", fresh)).stdout).toBe("42\n");
  });

  test("a process group that stops itself is ended by the time-out", async () => {
    expect(
      (await run("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", { timeoutMs: 200 })).reply,
    ).toMatchObject({ reason: "timeout", kernel: "restarted" });
    await alive();
  });

  test("children that hold the pipes and print for ever do not disturb the next call", async () => {
    await startNoise(sandbox);
    await alive();
    await alive();
    await run("noise.kill()");
  });

  test("a repr that raises, prints or exits is the code's own affair", async () => {
    expect((await run("class R:\n    def __repr__(self): raise SystemExit(9)\nR()")).reply.exit_code).toBe(9);
    expect((await run("class Q:\n    def __repr__(self): return 5\nQ()")).reply.ename).toBe("TypeError");
    await alive();
  });
});

describe("frames, whatever comes", () => {
  const frame = fc.record({
    header: fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 5 }),
    body: fc.uint8Array({ maxLength: 2000 }),
  });

  test("frames cut anywhere come out as they went in", () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 6 }),
        fc.array(fc.nat(5000), { maxLength: 12 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map(({ header, body }) => encodeFrame(header, body)));
          const decoder = new FrameDecoder();
          const seen = [];
          let from = 0;
          for (const to of [
            ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b),
            bytes.length,
          ]) {
            for (const one of decoder.push(bytes.subarray(from, to))) seen.push(one);
            from = to;
          }
          expect(seen.map(({ header, body }) => [JSON.parse(header.toString()), Buffer.from(body)])).toEqual(
            frames.map(({ header, body }) => [JSON.parse(JSON.stringify(header)), Buffer.from(body)]),
          );
          expect(decoder.pendingBytes).toBe(0);
        },
      ),
      { numRuns: 300, interruptAfterTimeLimit: 10_000 },
    );
  });

  test("random bytes end in a FrameError or wait within bounds; headers parse or are null", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 10 }), (pieces) => {
        const decoder = new FrameDecoder();
        try {
          for (const piece of pieces) {
            for (const { header } of decoder.push(Buffer.from(piece))) parseSandboxMessage(header);
            expect(decoder.pendingBytes).toBeLessThanOrEqual(8 + MAX_HEADER_BYTES + MAX_BODY_BYTES);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
      { numRuns: 2000, interruptAfterTimeLimit: 10_000 },
    );
  });

  test.each([
    ["a header length that lies", Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])],
    ["a body length that lies", Buffer.from([0, 0, 0, 2, 0x7f, 0, 0, 0])],
    ["a header that is not JSON", Buffer.concat([Buffer.from([0, 0, 0, 3, 0, 0, 0, 0]), Buffer.from("{x}")])],
    ["a header that is a list", Buffer.concat([Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]), Buffer.from("[]")])],
    ["a known message without its fields", encodeFrame({ msg_type: "execute_request", msg_id: "m" })],
    [
      "more code than announced",
      encodeFrame(
        {
          msg_type: "execute_request",
          msg_id: "m",
          content: {
            language: "py",
            args: [],
            code_bytes: 1,
            timeout_ms: 1,
            stdout_limit: 1,
            stderr_limit: 1,
          },
        },
        Buffer.from("xx"),
      ),
    ],
  ])("the supervisor ends on %s, and says why", async (_name, bytes) => {
    const sandbox = new Supervised();
    sandbox.process.stdin.write(bytes);
    expect(await sandbox.exited).toBe(2);
    expect(sandbox.diagnostics).toMatch(/supervisor: (FrameError|BadMessage): /);
    await sandbox[Symbol.asyncDispose]();
  });

  test("unknown messages and chunks of nothing are ignored", async () => {
    await using sandbox = new Supervised();
    sandbox.send({ msg_type: "from_the_future", msg_id: "x", content: {} });
    sandbox.send({ msg_type: "chunk", parent_id: "nobody", content: { last: true } }, Buffer.alloc(1000));
    sandbox.send(
      { msg_type: "tool_reply", msg_id: "t", parent_id: "nobody", content: { results_bytes: 2 } },
      Buffer.from("[]"),
    );
    expect((await sandbox.run("print(1)")).stdout).toBe("1\n");
  });

  test("mutated conversations never hang the supervisor", async () => {
    const good = [
      encodeFrame({ msg_type: "hello_request", msg_id: "h", content: { nonce: "n" } }),
      encodeFrame({
        msg_type: "file_write_request",
        msg_id: "f",
        content: { path: "x", size: 3, read_only: false },
      }),
      encodeFrame({ msg_type: "chunk", parent_id: "f", content: { last: true } }, Buffer.from("abc")),
      encodeFrame({ msg_type: "interrupt_request", msg_id: "i", parent_id: "e" }),
      encodeFrame(
        {
          msg_type: "execute_request",
          msg_id: "e",
          content: {
            language: "bash",
            args: [],
            code_bytes: 4,
            timeout_ms: 50,
            stdout_limit: 9,
            stderr_limit: 9,
          },
        },
        Buffer.from("true"),
      ),
      encodeFrame(
        { msg_type: "tool_reply", msg_id: "t", parent_id: "e", content: { results_bytes: 2 } },
        Buffer.from("[]"),
      ),
    ];
    const conversation = fc.tuple(
      fc.shuffledSubarray(good, { minLength: 1 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
    );
    for (const [frames, mutations] of fc.sample(conversation, 25)) {
      const bytes = Buffer.concat(frames);
      for (const [at, value] of mutations) bytes[at % bytes.length] = value;
      const sandbox = new Supervised();
      sandbox.process.stdin.end(bytes);
      // The end of input comes after the bytes: it ends by itself, one way or the other.
      expect([0, 2]).toContain(await sandbox.exited);
      expect(sandbox.diagnostics).not.toContain("Traceback");
      await sandbox[Symbol.asyncDispose]();
    }
  });
});
