import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, describe, expect, test } from "vitest";
import { Supervised, type ToolCall, type ToolResult } from "./supervised.ts";

const tools = ["get-user", "add", "fail", "class", "9lives", "test", "big.tool"].map((name) => ({ name }));

function answer(calls: readonly ToolCall[]): ToolResult[] {
  return calls.map(({ id, name, input }) =>
    name === "fail"
      ? { call_id: id, result: null, is_error: true, error_message: "it broke" }
      : { call_id: id, result: { name, input }, is_error: false },
  );
}

describe("tools called by programs", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = (code: string, options = {}) => sandbox.run(code, { tools, answer, ...options });
  const bash = (code: string, options = {}) => run(code, { language: "bash", ...options });

  test("Python: awaited result decoded, None dropped, names as the client derives them", async () => {
    const outcome = await run(
      "r = await get_user(id=1, skip=None)\nprint(r)\nprint((await class_tool({'a': 'ü'}))['input'], (await _9lives())['name'])",
    );
    expect(outcome.stdout).toBe("{'name': 'get-user', 'input': {'id': 1}}\n{'a': 'ü'} 9lives\n");
    expect(outcome.batches).toEqual([
      [{ id: "call_001", name: "get-user", input: { id: 1 } }],
      [{ id: "call_002", name: "class", input: { a: "ü" } }],
      [{ id: "call_003", name: "9lives", input: {} }],
    ]);
    expect(outcome.reply).toMatchObject({ status: "ok", exit_code: 0 });
  });

  test("Python: what is awaited together is one batch", async () => {
    const outcome = await run(
      "import asyncio\nrs = await asyncio.gather(*(add(n=i) for i in range(5)))\nprint([r['input']['n'] for r in rs])",
    );
    expect(outcome.stdout).toBe("[0, 1, 2, 3, 4]\n");
    expect(outcome.batches.map((batch) => batch.length)).toEqual([5]);
  });

  test("Python: errors are exceptions, also below asyncio.run and in wrapped code", async () => {
    const outcome = await run(
      "import asyncio\nasync def main():\n    try: await fail()\n    except ToolExecutionError as e: print('caught', e)\n    return (await add(x=1))['name']\nprint(asyncio.run(main()))",
    );
    expect(outcome.stdout).toBe("caught it broke\nadd\n");
    const uncaught = await run("await fail()");
    expect(uncaught.reply).toMatchObject({ exit_code: 1, ename: "ToolExecutionError", evalue: "it broke" });
    expect(uncaught.stderr.trimEnd().split("\n").at(-1)).toBe("ToolExecutionError: it broke");
    expect((await run("await add(1)")).reply.ename).toBe("TypeError");
    expect((await run("await add(text='x' * 3_000_000)")).reply.evalue).toContain("may have 2097152 bytes");
  });

  test("Python: a large set of calls is cut into batches that the gateway takes", async () => {
    const outcome = await run(
      "import asyncio\nrs = await asyncio.gather(*(add(n=i, text='x' * 1_500_000) for i in range(5)))\n[r['input'] for r in rs]",
      {
        answer: (calls: readonly ToolCall[]) =>
          calls.map(({ id }) => ({ call_id: id, result: { input: id }, is_error: false })),
      },
    );
    expect(outcome.batches.map((batch) => batch.length)).toEqual([2, 2, 1]);
    expect(outcome.stdout).toBe("['call_001', 'call_002', 'call_003', 'call_004', 'call_005']\n");
  });

  test("Python: state stays in the kernel across rounds; the stubs go with the call", async () => {
    expect((await run("n = 1\nfor _ in range(3): n += len((await add())['name'])\nn")).stdout).toBe("10\n");
    expect((await sandbox.run("n, 'add' in globals()")).stdout).toBe("(10, False)\n");
  });

  test("waiting for tools does not count, computing does", async () => {
    const LIMIT_MS = 2000;
    const slow = async (calls: readonly ToolCall[]) => {
      await new Promise((resolve) => setTimeout(resolve, LIMIT_MS * 1.25));
      return answer(calls);
    };
    const outcome = await run("await add()\nprint('done')", { timeoutMs: LIMIT_MS, answer: slow });
    expect(outcome).toMatchObject({ stdout: "done\n", reply: { reason: null } });
    expect(outcome.reply.wall_time_ms).toBeLessThan(LIMIT_MS);
    const busy = await run("await add()\nwhile True: pass", { timeoutMs: LIMIT_MS, answer: slow });
    expect(busy.reply).toMatchObject({ reason: "timeout", kernel: "kept" });
  });

  test("an interrupt ends a program that waits for a tool", async () => {
    const id = sandbox.begin("await add()", { tools });
    for (;;) if ((await sandbox.next()).message.msg_type === "tool_call_request") break;
    sandbox.send({ msg_type: "interrupt_request", msg_id: "i", parent_id: id });
    const outcome = await sandbox.finish(id);
    expect(outcome.reply).toMatchObject({ reason: "interrupted", kernel: "kept" });
    expect((await run("print((await add())['name'])")).stdout).toBe("add\n");
  });

  test("large arguments and results cross in chunks", async () => {
    const outcome = await run("r = await add(text='x' * 900_000)\nlen(r['result'])", {
      answer: (calls: readonly ToolCall[]) =>
        calls.map(({ id }) => ({ call_id: id, result: { result: "é".repeat(2_000_000) }, is_error: false })),
    });
    expect(outcome.stdout).toBe("2000000\n");
  });

  test("a result that the client forgot is an error of that call", async () => {
    expect((await run("await add()", { answer: () => [] })).reply.ename).toBe("ToolExecutionError");
  });

  test("bash: compact JSON, command substitution, errors on stderr with exit 1", async () => {
    const outcome = await bash(
      `x=$(get_user '{"id": "ü"}'); echo "$x"; fail '{}' || echo "code $?"; add 'no json' || echo "bad $?"; big_tool`,
    );
    expect(outcome.stdout).toBe(
      '{"name":"get-user","input":{"id":"ü"}}\ncode 1\nbad 1\n{"name":"big.tool","input":{}}\n',
    );
    expect(outcome.stderr).toContain("it broke\n");
    expect(outcome.reply.exit_code).toBe(0);
  });

  test("bash: background groups become one batch", async () => {
    const outcome = await bash(
      `{ add '{"n":1}' > a.txt; } & { add '{"n":2}' > b.txt; } & { add '{"n":3}'; } & wait; cat a.txt b.txt | wc -l`,
    );
    expect(outcome.batches.map((batch) => batch.length)).toEqual([3]);
    expect(outcome.stdout).toContain("2\n");
  });

  test("bash: a tool named like a builtin has both spellings, and the builtin still works", async () => {
    const outcome = await bash(`test -d . && test '{"a":1}'; test_tool '{"b":2}'; [ 1 = 1 ] && class '{}'`);
    expect(outcome.stdout).toBe(
      '{"name":"test","input":{"a":1}}\n{"name":"test","input":{"b":2}}\n{"name":"class","input":{}}\n',
    );
  });

  test("hostile clients of the socket harm nobody, and nothing stays in /tmp", async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith(".kernelyard-tools")).length;
    const outcome = await run(
      [
        "import glob, os, socket, struct",
        "[path] = glob.glob('/tmp/.kernelyard-tools-*/socket')[-1:]",
        "def ask(data):",
        "    s = socket.socket(socket.AF_UNIX); s.connect(path); s.sendall(data); s.shutdown(1)",
        "    return s.makefile('rb').read()[4:]",
        "print(ask(b'\\xff\\xff\\xff\\xff'))",
        "for text in (b'nonsense', b'{}', b'[]', b'{\"calls\":[]}', b'{\"calls\":[{\"name\":\"unknown\",\"input\":{}}]}', b'['*100000):",
        "    print(ask(struct.pack('>I', len(text)) + text)[:40])",
        "open(os.path.join(os.path.dirname(path), 'announce'), 'w').write('x' * 1000)",
        "held = [socket.socket(socket.AF_UNIX) for _ in range(100)]",
        "for s in held: s.connect(path)",
        "print((await add())['name'])",
      ].join("\n"),
    );
    expect(outcome.stdout.match(/error/g)?.length).toBe(7);
    expect(outcome.stdout).toMatch(/add\n$/);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith(".kernelyard-tools")).length).toBe(before);
  });
});
