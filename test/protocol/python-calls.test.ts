import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

const LIBRARIES = ["numpy", "pandas", "matplotlib", "matplotlib.pyplot"];

describe("the meaning of a Python call", () => {
  const sandbox = new Supervised({ preload: LIBRARIES });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);
  /** Code that runs until `tell` is called. */
  const UNTIL_TOLD = "import os, time\nwhile not os.path.exists('told'): time.sleep(0.01)\nos.remove('told')";
  const tell = () => writeFileSync(join(sandbox.data, "told"), "");

  test("hello tells the languages and the running call; a missing library is left out", async () => {
    expect(await sandbox.hello()).toMatchObject({
      protocol_version: 1,
      languages: [{ id: "py" }, { id: "bash" }],
      executing: null,
      execution_count: 0,
    });
    const id = sandbox.begin(UNTIL_TOLD);
    expect(await sandbox.hello()).toMatchObject({ executing: id });
    tell();
    expect((await sandbox.finish(id)).reply.status).toBe("ok");
    expect(sandbox.diagnostics).toContain("a_library_that_is_not_there was not imported ahead");
  });

  test("state lives from call to call, and the last expression is shown as a REPL shows it", async () => {
    const first = await run("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\nprint('p')\n'text'");
    expect(first).toMatchObject({ stdout: "p\n'text'\n", stderr: "", reply: { status: "ok", exit_code: 0 } });
    expect((await run("print(df.a.sum())")).stdout).toBe("3\n");
    const frame = await run("df");
    expect(frame.stdout).toBe("   a\n0  1\n1  2\n");
    expect(frame.files.size).toBe(0);
    expect((await run("1 + 1;")).stdout).toBe("");
    expect((await run("None")).stdout).toBe("");
    expect((await run("41 + 1\n")).stdout).toBe("42\n");
    expect((await run("_ + 1")).stdout).toBe("43\n");
  });

  test("the same code twice, `__main__`, arguments", async () => {
    const code = "import sys\nif __name__ == '__main__': print(sys.argv[1:])";
    expect((await run(code, { args: ["a b", "ü"] })).stdout).toBe("['a b', 'ü']\n");
    expect((await run(code, { args: [] })).stdout).toBe("[]\n");
  });

  test("exits keep the kernel and give the code", async () => {
    await run("kept = 7");
    for (const [code, exit] of [
      ["import sys; sys.exit(3)", 3],
      ["raise SystemExit", 0],
      ["quit()", 0],
      ["exit(5)", 5],
      ["import sys; sys.exit(-1)", 255],
    ] as const) {
      const { reply } = await run(code);
      expect(reply).toMatchObject({ exit_code: exit, signal: null, reason: null, kernel: "kept" });
      expect(reply.status).toBe(exit === 0 ? "ok" : "error");
    }
    expect(await run("import sys; sys.exit('a reason')")).toMatchObject({
      stderr: "a reason\n",
      reply: { exit_code: 1 },
    });
    expect((await run("kept")).stdout).toBe("7\n");
  });

  test("errors read as Python's own, without our frames", async () => {
    const failed = await run("def f():\n    return missing\nprint('before')\nf()");
    expect(failed.stdout).toBe("before\n");
    expect(failed.stderr).toMatch(
      /^Traceback \(most recent call last\):\n {2}File "<cell \d+>", line 4, in <module>\n {4}f\(\)\n {2}File "<cell \d+>", line 2, in f\n {4}return missing\n/,
    );
    expect(failed.stderr).not.toContain("sandbox-image");
    expect(failed.reply).toMatchObject({
      status: "error",
      exit_code: 1,
      ename: "NameError",
      evalue: "name 'missing' is not defined",
    });
    const syntax = await run("print(1)\ndef f(:\n");
    expect(syntax).toMatchObject({ stdout: "", reply: { exit_code: 1, ename: "SyntaxError" } });
    expect(syntax.stderr).toContain("line 2\n    def f(:");
    const long = await run("raise ValueError('\\u0000é' * 100_000)");
    expect(long.reply).toMatchObject({ ename: "ValueError", exit_code: 1 });
    const chained = await run(
      "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    );
    expect(chained.stderr).toContain("The above exception was the direct cause");
    expect((await run("class E(Exception):\n    def __str__(self): 1 / 0\nraise E")).reply.ename).toBe("E");
    expect((await run("def r(): r()\nr()")).reply.ename).toBe("RecursionError");
    expect((await run("a = '\0'")).reply.exit_code).toBe(1);
  });

  test("input and standard input are closed", async () => {
    expect((await run("input('name? ')")).reply).toMatchObject({ ename: "EOFError", exit_code: 1 });
    expect((await run("import sys; sys.stdin.read()")).stdout).toBe("''\n");
    expect((await run("cat; echo done", { language: "bash" })).stdout).toBe("done\n");
  });

  test("top-level await, asyncio.run in a plain cell and below a running loop", async () => {
    expect((await run("import asyncio\nawait asyncio.sleep(0.01)\nawait asyncio.sleep(0, 'r')")).stdout).toBe(
      "'r'\n",
    );
    const main = "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 4\n";
    expect((await run(`${main}asyncio.run(main())`)).stdout).toBe("4\n");
    expect((await run(`${main}await asyncio.sleep(0)\nasyncio.run(main())`)).stdout).toBe("4\n");
  });

  test("output of subprocesses, of other threads and of raw descriptors comes in order", async () => {
    const { stdout } = await run(
      "import os, subprocess, threading\nprint('a')\nsubprocess.run(['echo', 'b'])\nos.write(1, b'c\\n')\n" +
        "t = threading.Thread(target=print, args=('d',)); t.start(); t.join()\nos.system('echo e')\nprint('f', end='')",
    );
    expect(stdout).toBe("a\nb\nc\nd\ne\nf");
  });

  test("magics and shell escapes", async () => {
    expect((await run("!echo from-the-shell")).stdout).toContain("from-the-shell");
    expect((await run("x = !echo captured\nx[0]")).stdout).toBe("'captured'\n");
    expect((await run("%%bash\necho cell")).stdout).toBe("cell\n");
    expect((await run("%no_such_magic")).reply.exit_code).toBe(1);
  });

  test("multiprocessing with functions of the cell; a forked child does not answer for the kernel", async () => {
    const pool = await run(
      "from multiprocessing import Pool\ndef square(x): return x * x\nwith Pool(2) as p: print(p.map(square, range(4)))",
    );
    expect(pool).toMatchObject({ stdout: "[0, 1, 4, 9]\n", reply: { exit_code: 0, kernel: "kept" } });
    const forked = await run(
      "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('child' if pid == 0 else 'parent')",
    );
    expect(forked.stdout).toBe("child\nparent\n");
    expect((await run("print(1)")).stdout).toBe("1\n");
  });

  test("figures left open are saved once, beside those the code saved", async () => {
    const { files, stderr } = await run(
      "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.savefig('mine.png')\nplt.figure(); plt.plot([2, 1])\n" +
        "plt.figure(); plt.bar(['あ', '中', '한'], [1, 2, 3]); plt.show()\nplt.figure()\npass",
    );
    expect(stderr).not.toContain("cannot be shown");
    expect([...files.keys()].sort()).toEqual(["mine.png", "plot_1.png", "plot_2.png"]);
    expect(files.get("plot_1.png")?.bytes.subarray(1, 4).toString()).toBe("PNG");
    expect((await run("plt.get_fignums()")).stdout).toBe("[]\n");
    const later = await run("fig, ax = plt.subplots(); ax.plot([1]); display(fig); plt.close(fig)");
    expect([...later.files.keys()]).toEqual(["plot_3.png"]);
    const failing = await run("plt.plot([1])\n1 / 0");
    expect([...failing.files.keys()]).toEqual(["plot_4.png"]);
  });

  test("display leaves files and prints text", async () => {
    const { files, stdout } = await run(
      "from IPython.display import HTML, SVG, Markdown\ndisplay(df, HTML('<b>bold</b>'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))\n" +
        "display(Markdown('# title'))\nclass Rich:\n    def _repr_mimebundle_(self, **_): return {'text/html': '<i>rich</i>', 'text/plain': 'rich'}\ndisplay(Rich())",
    );
    expect([...files.keys()]).toEqual([
      "display_1.html",
      "display_2.html",
      "display_3.svg",
      "display_4.md",
      "display_5.html",
    ]);
    expect(files.get("display_2.html")?.bytes.toString()).toContain("<b>bold</b>");
    expect(stdout).toContain("# title\n");
    expect(stdout).toContain("rich\n");
  });

  test("what a call broke in the process is mended for the next", async () => {
    for (const code of [
      "import sys; sys.stdout.close()",
      "import sys; sys.stdout = None",
      "import os; os.close(1); os.close(2)",
      "import os; os.dup2(os.open('/dev/null', os.O_WRONLY), 1)",
      "import os; os.chdir('/')",
      "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
      "import sys; sys.displayhook = None; sys.excepthook = None",
      "del __builtins__",
      "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    ]) {
      await run(code);
      const next = await run("import os\nprint(os.path.basename(os.getcwd())[:5])\n'shown'");
      expect([code, next.stdout]).toEqual([code, "data-\n'shown'\n"]);
    }
    expect((await run("import time; time.sleep(30)", { timeoutMs: 200 })).reply).toMatchObject({
      kernel: "kept",
    });
  });

  test("long code arrives in chunks", async () => {
    const code = `text = '''${"x".repeat(3_000_000)}'''\nlen(text)`;
    expect((await run(code)).stdout).toBe("3000000\n");
  });

  test("bash: script outside the data directory, arguments, exit code", async () => {
    const outcome = await run('echo "$1|$2"; echo "$0" >&2; echo made > made.txt; exit 7', {
      language: "bash",
      args: ["one two", "*"],
    });
    expect(outcome).toMatchObject({
      stdout: "one two|*\n",
      reply: { exit_code: 7, status: "error", kernel: "kept" },
    });
    expect([...outcome.files.keys()]).toEqual(["made.txt"]);
    expect(existsSync(outcome.stderr.trim())).toBe(false);
  });

  test("an unknown language and a second call at the same time are answered, not run", async () => {
    expect((await run("x", { language: "cobol" })).reply).toMatchObject({
      status: "aborted",
      exit_code: null,
    });
    const first = sandbox.begin(`${UNTIL_TOLD}; print('first')`);
    const second = await sandbox.run("print('second')");
    expect(second).toMatchObject({ stdout: "", reply: { status: "aborted" } });
    tell();
    expect((await sandbox.finish(first)).stdout).toBe("first\n");
  });

  test("forks of one template draw different random numbers", async () => {
    const draw = "import random, numpy\nprint(random.random(), numpy.random.rand())";
    const one = (await run(draw)).stdout;
    await run("import os; os._exit(0)");
    expect((await run(draw)).stdout).not.toBe(one);
  });

  test("a data directory behind a link is entered", async () => {
    symlinkSync("/etc", join(sandbox.data, "outside"));
    const { files, reply } = await run("open('outside-not.txt', 'w').write('x');");
    expect([...files.keys()]).toEqual(["outside-not.txt"]);
    expect(reply.skipped).toContainEqual({
      path: "outside",
      reason: "symbolic link: only regular files are collected",
      loss: null,
    });
  });
});
