import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

const MIB = 1024 * 1024;

describe("how a call ends", () => {
  const sandbox = new Supervised({ preload: ["numpy"] });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);

  test("output is streamed while the code runs", async () => {
    const seen: string[] = [];
    const id = sandbox.begin("import time\nprint('early')\ntime.sleep(60)");
    for (;;) {
      const { message, body } = await sandbox.next();
      if (message.msg_type === "stream") {
        seen.push(body.toString());
        break;
      }
    }
    expect(seen).toEqual(["early\n"]);
    sandbox.send({ msg_type: "interrupt_request", msg_id: "stop", parent_id: id });
    const { message } = await sandbox.next();
    expect(message).toEqual({ msg_type: "interrupt_reply", parent_id: "stop" });
    expect((await sandbox.finish(id)).reply).toMatchObject({
      status: "error",
      reason: "interrupted",
      kernel: "kept",
      signal: "SIGINT",
      exit_code: null,
    });
  });

  test("a time-out interrupts and keeps the variables and the output", async () => {
    const outcome = await run("state = 5\nprint('so far')\nwhile True: pass", { timeoutMs: 1000 });
    expect(outcome).toMatchObject({
      stdout: "so far\n",
      reply: { reason: "timeout", kernel: "kept", ename: "KeyboardInterrupt" },
    });
    expect(outcome.reply.wall_time_ms).toBeGreaterThan(990);
    expect((await run("state")).stdout).toBe("5\n");
    const awaiting = await run("import asyncio\nawait asyncio.sleep(60)", { timeoutMs: 200 });
    expect(awaiting.reply).toMatchObject({ reason: "timeout", kernel: "kept" });
    expect((await run("await asyncio.sleep(0, state)")).stdout).toBe("5\n");
  });

  test("code that ignores the interrupt loses its variables, not its files", async () => {
    const outcome = await run(
      "lost = 1\nopen('kept.txt', 'w').write('x')\nimport time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
      { timeoutMs: 1000 },
    );
    expect(outcome.reply).toMatchObject({
      reason: "timeout",
      kernel: "restarted",
      signal: "SIGKILL",
      execution_count: 0,
    });
    expect(outcome.stderr).toContain(
      "[sandbox] The code did not stop when interrupted: variables are lost, files are kept.",
    );
    expect([...outcome.files.keys()]).toEqual(["kept.txt"]);
    const next = await run("print(open('kept.txt').read())\nlost");
    expect(next).toMatchObject({
      stdout: "x\n",
      reply: { ename: "NameError", execution_count: 1, kernel: "kept" },
    });
    expect(next.stderr).not.toContain("[sandbox]");
  });

  test.each([
    ["while it runs", "import time; print('x', flush=True); time.sleep(60)", "stream", undefined],
    ["while its files are collected", "", "file_output", true],
  ])("what a call made that was abandoned %s is for the next one to report", async (...way) => {
    const [, more, sign, takenBack] = way;
    await run("open('old.bin', 'wb').write(b'1')");
    const id = sandbox.begin(
      `import os\nopen('new.bin', 'wb').write(bytes(64 << 20)); open('old.bin', 'ab').write(b'2')\n${more}`,
    );
    while ((await sandbox.next()).message.msg_type !== sign);
    sandbox.send({ msg_type: "interrupt_request", msg_id: `leave-${sign}`, parent_id: id });
    let reply = await sandbox.next();
    while (reply.message.msg_type !== "execute_reply") reply = await sandbox.next();
    // What is not collected needs no taking back.
    expect(reply.message.content.taken_back).toBe(takenBack);
    const next = await run("print(1)");
    expect(next.reply.taken_back).toBe(false);
    expect([...next.files].map(([path, { change }]) => `${path} ${change}`).sort()).toEqual([
      "new.bin created",
      "old.bin modified",
    ]);
    expect([...(await run("os.remove('new.bin'); os.remove('old.bin')")).files]).toEqual([]);
  });

  test("what a call made that is only stopped is its own to report", async () => {
    const id = sandbox.begin("open('own.txt', 'w').write('x')\nprint('made')\nimport time; time.sleep(60)");
    while ((await sandbox.next()).message.msg_type !== "stream");
    sandbox.send({
      msg_type: "interrupt_request",
      msg_id: "hurry",
      parent_id: id,
      content: { wanted: true },
    });
    expect((await sandbox.next()).message.msg_type).toBe("interrupt_reply");
    const { reply, files } = await sandbox.finish(id);
    expect(reply).toMatchObject({ reason: "interrupted", kernel: "kept" });
    expect([...files.keys()]).toEqual(["own.txt"]);
    expect([...(await run("import os; os.remove('own.txt')")).files]).toEqual([]);
  });

  test("interrupts before, after and of another call do no harm", async () => {
    sandbox.send({ msg_type: "interrupt_request", msg_id: "idle", parent_id: "nobody" });
    expect((await sandbox.next()).message.msg_type).toBe("interrupt_reply");
    for (let round = 0; round < 20; round++) {
      const id = sandbox.begin("pass");
      sandbox.send({ msg_type: "interrupt_request", msg_id: `i${round}`, parent_id: id });
      const { reply } = await sandbox.finish(id);
      expect(reply.kernel).toBe("kept");
      if (reply.reason === null) {
        // The reply came first: the interrupt found nobody.
        expect((await sandbox.next()).message.msg_type).toBe("interrupt_reply");
      }
    }
    expect((await run("print('fine')")).stdout).toBe("fine\n");
  });

  test.each([
    ["os._exit(4)", { exit_code: 4, signal: null }],
    ["os.kill(os.getpid(), 9)", { exit_code: null, signal: "SIGKILL" }],
    ["import ctypes; ctypes.string_at(0)", { exit_code: null, signal: "SIGSEGV" }],
    ["os.abort()", { exit_code: null, signal: "SIGABRT" }],
    ["os.killpg(0, 9)", { exit_code: null, signal: "SIGKILL" }],
  ])("%s ends the kernel, the next call works", async (code, expected) => {
    const outcome = await run(`import os\nprint('before', flush=True)\n${code}`);
    expect(outcome.reply).toMatchObject({
      ...expected,
      status: "error",
      reason: "kernel_died",
      kernel: "restarted",
    });
    expect(outcome.stdout).toBe("before\n");
    expect(outcome.stderr).toMatch(
      /^\[sandbox\] The kernel ended \(.+\); variables are lost, files are kept\.\n$/m,
    );
    expect((await run("6 * 7")).stdout).toBe("42\n");
  });

  test("a kernel that dies between calls is not kept secret", async () => {
    await run("import os, threading\nthreading.Timer(0.05, lambda: os._exit(1)).start()\nvariable = 1");
    await run("sleep 0.5", { language: "bash" });
    const next = await run("variable");
    expect(next.stderr).toContain("[sandbox] The kernel ended (exit code 1) after the previous call");
    expect(next.reply).toMatchObject({ kernel: "restarted", ename: "NameError" });
    expect((await run("1")).reply.kernel).toBe("kept");
  });

  test("a restart on request gives a new kernel", async () => {
    await run("gone = 1");
    sandbox.send({ msg_type: "shutdown_request", msg_id: "again", content: { restart: true } });
    expect((await sandbox.next()).message).toEqual({ msg_type: "shutdown_reply", parent_id: "again" });
    expect((await run("gone")).reply.ename).toBe("NameError");
  });

  test("standard output is cut exactly at its limit in UTF-16 units, and the run is ended", async () => {
    const exact = await run("print('é' * 99)", { stdoutLimit: 100 });
    expect(exact.reply).toMatchObject({ status: "ok", stdout_truncated: false, reason: null });
    const over = await run("print('é' * 101)", { stdoutLimit: 100 });
    expect(over.stdout).toBe("é".repeat(100));
    expect(over.reply).toMatchObject({ stdout_truncated: true, reason: "stdout_limit" });
    const pairs = await run("print('😀' * 60)", { stdoutLimit: 101 });
    expect(pairs.stdout).toBe("😀".repeat(50));
    const endless = await run("while True: print('x' * 1000)", { stdoutLimit: 65_536 });
    expect(endless.stdout.length).toBe(65_536);
    expect(endless.reply).toMatchObject({ reason: "stdout_limit", kernel: "kept" });
    const shell = await run("yes", { language: "bash", stdoutLimit: 1000 });
    expect(shell.reply).toMatchObject({ reason: "stdout_limit", signal: "SIGTERM" });
    expect(shell.stdout.length).toBe(1000);
  });

  test("standard error keeps its head and its tail, and says how much is left out between", async () => {
    const warnings =
      "import sys\nfor i in range(3000): print('warning', i, '😀' * 20, file=sys.stderr)\nprint('end')\nraise KeyError('the_reason')";
    for (const limit of [400, 5000, 65_536]) {
      const outcome = await run(warnings, { stderrLimit: limit });
      expect(outcome).toMatchObject({ stdout: "end\n", reply: { stderr_truncated: true, reason: null } });
      expect(outcome.stderr.length).toBeLessThanOrEqual(limit);
      expect(outcome.stderr.length).toBeGreaterThan(limit * 0.6);
      expect(outcome.stderr).toMatch(
        /^warning 0 .*\n\[sandbox\] (\d+) characters of standard error are left/s,
      );
      expect(outcome.stderr).toMatch(/KeyError: 'the_reason'\n$/);
      expect(outcome.stderr).not.toContain("\ufffd");
    }
    const fits = await run("import sys\nprint('é' * 99, file=sys.stderr)", { stderrLimit: 100 });
    expect(fits).toMatchObject({ stderr: `${"é".repeat(99)}\n`, reply: { stderr_truncated: false } });
    const shell = await run("for i in $(seq 9000); do echo $i >&2; done; exit 3", {
      language: "bash",
      stderrLimit: 1000,
    });
    expect(shell.stderr).toMatch(/^1\n2\n.*\n\[sandbox\] \d+ characters .*\n8999\n9000\n$/s);
    const killed = await run("import os, sys\nprint('x' * 9000, file=sys.stderr)\nos.kill(os.getpid(), 9)", {
      stderrLimit: 1000,
    });
    expect(killed.stderr).toMatch(/variables are lost, files are kept\.\n$/);
    expect(killed.stderr.length).toBeLessThanOrEqual(1000);
  });

  test("bytes that are not UTF-8 pass, also when a character is cut in two writes", async () => {
    const outcome = await run(
      "import os, time\nos.write(1, b'\\xff\\xe3\\x81'); time.sleep(0.05); os.write(1, b'\\x82|\\xe3');",
    );
    expect(outcome.stdout).toBe("\ufffdあ|\ufffd");
  });

  test("what a background thread prints after the end belongs to no call", async () => {
    const first = await run(
      "import os, threading, time\ndef late():\n    while not os.path.exists('over'): time.sleep(0.01)\n    print('late', flush=True)\n    open('printed', 'w').close()\n" +
        "threading.Thread(target=late).start()\nprint('now')",
    );
    expect(first.stdout).toBe("now\n");
    const between = await run("touch over; until [ -e printed ]; do sleep 0.01; done", { language: "bash" });
    expect(between.stdout).toBe("");
    expect((await run("print('next')")).stdout).toBe("next\n");
  });

  test("a bash program that ignores every signal is killed with all it started", async () => {
    const outcome = await run("trap '' TERM INT HUP; (trap '' TERM; sleep 396) & while :; do sleep 1; done", {
      language: "bash",
      timeoutMs: 1000,
    });
    expect(outcome.reply).toMatchObject({ reason: "timeout", signal: "SIGKILL", kernel: "kept" });
    expect((await run("pgrep -f 'sleep 39[6]'; true", { language: "bash" })).stdout).toBe("");
  });
});

describe("memory", () => {
  const sandbox = new Supervised({
    preload: ["numpy"],
    env: { KERNELYARD_SANDBOX_MEMORY: String(512 * MIB), OPENBLAS_NUM_THREADS: "1" },
  });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);

  test.each([
    "x = bytearray(10**10)",
    "import numpy as np; np.ones(10**9)",
    "parts = []\nwhile True: parts.append(bytearray(1_000_000))",
  ])("%s is a MemoryError, and the kernel lives", async (code) => {
    await run("before = 1; parts = None");
    const outcome = await run(code);
    expect(outcome.reply).toMatchObject({ exit_code: 1, ename: "MemoryError", kernel: "kept" });
    expect((await run("parts = None; before")).stdout).toBe("1\n");
  });

  test("address space is not memory: sparse maps of many GiB work", async () => {
    const outcome = await run(
      "import mmap, numpy as np\nm = mmap.mmap(-1, 8 << 30); m[0] = 1; m[7 << 30] = 2\n" +
        "f = np.memmap('sparse.bin', dtype='u1', mode='w+', shape=(16 << 30,)); f[-1] = 3\nprint(len(m), m[7 << 30], f[-1])\nimport os; del f; os.remove('sparse.bin')",
    );
    expect(outcome).toMatchObject({ stdout: "8589934592 2 3\n", stderr: "" });
  });

  test("threads, pools and ordinary arrays fit", async () => {
    const outcome = await run(
      "import numpy as np, threading\nfrom multiprocessing import Pool\na = np.random.rand(1000, 1000); b = a @ a\n" +
        "ts = [threading.Thread(target=len, args=('',)) for _ in range(16)]\nfor t in ts: t.start()\nfor t in ts: t.join()\n" +
        "with Pool(2) as p: print(sum(p.map(abs, range(10))))",
    );
    expect(outcome).toMatchObject({ stdout: "45\n", reply: { exit_code: 0 } });
  });

  test("many processes together are ended before the sandbox is", async () => {
    const outcome = await run(
      "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        block = bytearray(150 * 2**20)\n        time.sleep(60)\ntime.sleep(60)",
    );
    expect(outcome.reply).toMatchObject({ reason: "out_of_memory", kernel: "restarted", signal: "SIGKILL" });
    expect((await run("print('alive')")).stdout).toBe("alive\n");
    const shell = await run("x=$(head -c 100 /dev/zero | tr '\\0' x); while :; do x=$x$x; done", {
      language: "bash",
    });
    expect(shell.reply).toMatchObject({ reason: "out_of_memory", kernel: "kept", signal: "SIGKILL" });
  });
});
