/** A program's surroundings and its end, where `scripts.test.ts` has nothing to compare with. */
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

describe("a fresh call", () => {
  const sandbox = new Supervised({ preload: ["matplotlib", "matplotlib.pyplot"] });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = (code: string, options = {}) => sandbox.run(code, { script: true, ...options });

  test("finds what a script finds, and no file of its own unless it looks for one", async () => {
    const names =
      "print(__name__, __import__('sys').path[0] == __import__('os').getcwd(), sorted(globals()))";
    expect((await run(names)).stdout).toBe(
      "__main__ True ['__annotations__', '__builtins__', '__cached__', '__doc__', '__file__', '__loader__', '__name__', '__package__', '__spec__']\n",
    );
    expect((await run("import os\nprint(os.listdir('.'))")).stdout).toBe("[]\n");
    const looks = await run(
      "import os, sys\nprint(os.path.relpath(__file__), sys.argv, os.listdir('.'), open(__file__).read()[:6])",
      { args: ["a b"] },
    );
    expect(looks.stdout).toBe("main.py ['main.py', 'a b'] ['main.py'] import\n");
    expect(looks.files.size).toBe(0);
    const dies = await run("import os, sys\nprint(sys.argv[0], flush=True)\nos._exit(3)");
    expect([dies.stdout, dies.reply.exit_code, dies.files.size]).toEqual(["main.py\n", 3, 0]);
    await sandbox.run("rm -f main.py", { language: "bash" });
  });

  test("ends with its own status, however late the machine tells it", async () => {
    // The template, which waits for it, is stopped for longer than one that is merely slow would be.
    const late = await run(
      "import os, signal, subprocess\n" +
        "subprocess.Popen(['sh', '-c', f'sleep 0.7; kill -CONT {os.getppid()}'])\n" +
        "os.kill(os.getppid(), signal.SIGSTOP)\nos._exit(9)",
    );
    expect([late.reply.exit_code, late.reply.signal, late.stderr]).toEqual([9, null, ""]);
  });

  test("a main.py of the user's is neither hidden nor overwritten", async () => {
    await sandbox.write("main.py", "VALUE = 'theirs'");
    const outcome = await run("import main, sys\nprint(main.VALUE, sys.argv[0], open('main.py').read())", {
      collect: { inputs: ["main.py"] },
    });
    expect(outcome.stdout).toBe("theirs main_1.py VALUE = 'theirs'\n");
    expect(outcome.reply.inputs?.unchanged).toEqual(["main.py"]);
    const written = await run("open('main.py', 'w').write('VALUE = 1')\nprint(__file__[-9:])", {
      collect: { inputs: ["main.py"] },
    });
    expect([...written.files.keys()]).toEqual(["main.py"]);
    await sandbox.run("rm main.py", { language: "bash" });
  });

  test("spawned processes have its functions, with and without a guard", async () => {
    const body =
      "import math, multiprocessing as mp\nfrom concurrent.futures import ProcessPoolExecutor\nK = 3\ndef f(x): return x * K\n";
    const use =
      "    with mp.get_context('METHOD').Pool(2) as p: print(p.map(f, [4, 9]), p.map(math.sqrt, [4]))\n    with ProcessPoolExecutor(1, mp.get_context('METHOD')) as e: print(list(e.map(f, [1])))\n";
    for (const method of ["spawn", "forkserver", "fork"]) {
      for (const guard of ["if __name__ == '__main__':\n", "if True:\n"]) {
        const outcome = await run(body + guard + use.replaceAll("METHOD", method));
        expect([method, guard, outcome.stdout, outcome.stderr]).toEqual([
          method,
          guard,
          "[12, 27] [2.0]\n[3]\n",
          "",
        ]);
        expect(outcome.files.size).toBe(0);
      }
    }
  });

  test("its end is within the time limit, and each step has its turn", async () => {
    const outcome = await run(
      "import atexit, threading, time\natexit.register(print, 'atexit')\nthreading.Thread(target=time.sleep, args=(60,)).start()\nf = open('kept.txt', 'w'); f.write('kept')\nprint('main')",
      { timeoutMs: 400 },
    );
    expect(outcome).toMatchObject({ stdout: "main\natexit\n", reply: { reason: "timeout" } });
    expect(outcome.files.get("kept.txt")?.bytes.toString()).toBe("kept");
    const stuck = await run(
      "import atexit, time\n@atexit.register\ndef f():\n    while True:\n        try: time.sleep(60)\n        except BaseException: pass",
      { timeoutMs: 300 },
    );
    expect(stuck.reply).toMatchObject({ reason: "timeout", signal: "SIGKILL" });
    expect((await run("print('next')")).stdout).toBe("next\n");
  });

  test("figures left open, also by threads and tasks; displays and the last value", async () => {
    const outcome = await run(
      "import matplotlib.pyplot as plt, threading, time\nplt.plot([1])\ndef late():\n    time.sleep(0.1)\n    fig = plt.figure(); fig.add_subplot().plot([2])\nthreading.Thread(target=late).start()\n'value'",
    );
    expect([outcome.stdout, [...outcome.files.keys()]]).toEqual(["'value'\n", ["plot_1.png", "plot_2.png"]]);
  });

  test("top-level await is `asyncio.run`: what is pending at the end is cancelled", async () => {
    const outcome = await run(
      "import asyncio\nasync def for_ever():\n    try: await asyncio.sleep(60)\n    finally: print('cancelled')\nt = asyncio.create_task(for_ever())\nawait asyncio.sleep(0)\nprint('main')",
    );
    expect(outcome).toMatchObject({ stdout: "main\ncancelled\n", stderr: "", reply: { exit_code: 0 } });
    const sync = await run(
      "import asyncio\ntry: asyncio.get_running_loop()\nexcept RuntimeError as e: print(e)",
    );
    expect(sync.stdout).toBe("no running event loop\n");
  });

  test("magics work there too", async () => {
    expect(
      (await run("%matplotlib inline\n!echo shell\n%cd /tmp\nx = %pwd\nprint(x)")).stdout.replaceAll(
        "\r",
        "",
      ),
    ).toBe("shell\n/tmp\n/tmp\n");
  });

  test("daemon threads stop with it, output that cannot be written is an exit code", async () => {
    const daemon = await run(
      "import threading\ndef spin():\n    i = 0\n    while True: i += step\nstep = 1\nthreading.Thread(target=spin, daemon=True).start()\nprint('main')",
    );
    expect(daemon).toMatchObject({ stdout: "main\n", stderr: "", reply: { exit_code: 0 } });
    const full = await run("import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('lost', end='')");
    expect(full.reply.exit_code).toBe(120);
    expect(full.stderr).toContain("No space left on device");
  });

  test("tool programs: tasks begun by its first lines, without any await too", async () => {
    const tools = [{ name: "get-price" }];
    const answer = (calls: readonly { id: string; input: unknown }[]) =>
      calls.map(({ id, input }) => ({ call_id: id, result: JSON.stringify(input).length, is_error: false }));
    const outcome = await run(
      "import asyncio\nts = [asyncio.create_task(get_price(item=i)) for i in ('tea', 'milk')]\nprint(sum(await asyncio.gather(*ts)))",
      { tools, answer },
    );
    expect(outcome.stdout).toBe("29\n");
    const plain = await run(
      "import asyncio\nprint(asyncio.run(get_price(item='x')), asyncio.get_running_loop() is not None)",
      { tools, answer },
    );
    expect(plain.stdout).toBe("12 True\n");
  });
});

describe("text as it comes", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);

  test.each([
    ["py", "\ufeffprint('begun')", "begun\n"],
    ["py", "def f(x):\r\n    return x + 1\r\n\r\nif True:\r\n    print(f(1))\r\n", "2\n"],
    ["py", "s = '''a\r\nb'''\r\nprint(len(s))", "3\n"],
    ["py", "%%bash\r\necho one\r\n\r\necho two\r\n", "one\ntwo\n"],
    ["py", "    total = 0\n    for n in (1, 2):\n        total += n\n    print(total)\n", "3\n"],
    ["py", "print(len('\ufeff'), '\\r' == chr(13))", "1 True\n"],
    ["bash", "\ufeffecho begun", "begun\n"],
    ["bash", "echo one\r\n\r\nif true; then\r\n  echo two\r\nfi\r\n", "one\ntwo\n"],
    ["bash", "cat <<'END'\r\na\r\nEND\r\necho b\r\n", "a\nb\n"],
    ["bash", "printf 'a\\r\\n'; cat <<'END'\nb\r\nEND\n", "a\r\nb\r\n"],
  ])("%s: %j", async (language, code, stdout) => {
    for (const script of [false, true]) {
      const outcome = await run(code, { language, script });
      expect([outcome.stdout, outcome.stderr]).toEqual([stdout, ""]);
    }
  });

  test("arguments as long as a command line takes", async () => {
    const args = [
      "x".repeat(131_000),
      ...Array.from({ length: 14 }, (_, i) => `é${i}"`.repeat(20_000)),
      "\\\n",
    ];
    const python = await run("import sys\nprint([len(a) for a in sys.argv[1:]], sys.argv[-1] == '\\\\\\n')", {
      args,
    });
    expect(python.stdout).toBe(`[${args.map((arg) => arg.length).join(", ")}] True\n`);
    const shell = await run('echo $#; printf %s "$1" | wc -c; printf %s "$16" | tail -c 2 | od -An -c', {
      language: "bash",
      args: [...args.slice(0, 15), "16"],
    });
    expect(shell.stdout).toMatch(/^16\n131000\n/);
    const long = await run(`import sys\nprint(len(sys.argv[1]))\n#${"c".repeat(2_000_000)}`, { args });
    expect(long.stdout).toBe("131000\n");
  });
});
