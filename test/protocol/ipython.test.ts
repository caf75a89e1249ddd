/** What IPython does around a cell, as people know it from notebooks. */
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

const sandbox = new Supervised({ preload: ["numpy", "matplotlib", "matplotlib.pyplot"] });
afterAll(() => sandbox[Symbol.asyncDispose]());
const run = sandbox.run.bind(sandbox);

/** What the last of several calls prints; all of them have to succeed. */
async function last(...cells: readonly string[]): Promise<string> {
  let stdout = "";
  for (const cell of cells) {
    const outcome = await run(cell);
    expect([cell, outcome.stderr, outcome.reply.exit_code]).toEqual([cell, "", 0]);
    stdout = outcome.stdout;
  }
  return stdout;
}

describe("one event loop for all cells", () => {
  const job =
    "import asyncio\nasync def job(n=1):\n    await asyncio.sleep(0.01)\n    return n\nasync def twice(): return 2 * await job()";

  test("tasks made before the await, over cells, and in cells that do not await", async () => {
    expect(
      await last(job, "ts = [asyncio.create_task(job(n)) for n in range(3)]\nawait asyncio.gather(*ts)"),
    ).toBe("[0, 1, 2]\n");
    expect(await last("pending = asyncio.create_task(job('ready'))", "print(await pending)")).toBe("ready\n");
    expect(
      await last(
        "asyncio.ensure_future(job(5)); loop = asyncio.get_running_loop()",
        "await asyncio.sleep(0.02)\nloop is asyncio.get_running_loop()",
      ),
    ).toBe("True\n");
    expect(
      await last(
        "fs = asyncio.get_event_loop().create_future()",
        "asyncio.get_event_loop().call_soon(fs.set_result, 8)",
        "await fs",
      ),
    ).toBe("8\n");
  });

  test("a task begins with its cell, goes on while calls run, and stands still between them", async () => {
    expect(
      await last(
        "async def tick():\n    for i in range(3):\n        print('tick', i)\n        await asyncio.sleep(0)\nt = asyncio.create_task(tick())",
      ),
    ).toBe("tick 0\n");
    await run("sleep 0.3", { language: "bash" });
    expect(await last("1")).toBe("1\ntick 1\n");
    expect(await last("await asyncio.sleep(0.01)")).toBe("tick 2\n");
  });

  test("loops of the code's own beside it", async () => {
    for (const code of [
      "asyncio.run(twice())",
      "asyncio.new_event_loop().run_until_complete(twice())",
      "asyncio.get_event_loop().run_until_complete(twice())",
      "with asyncio.Runner() as runner: x = runner.run(twice())\nx",
      "await asyncio.sleep(0)\nasyncio.run(twice())",
      "async def inner(): return asyncio.new_event_loop().run_until_complete(twice())\nawait inner()",
      "import threading; out = []\nt = threading.Thread(target=lambda: out.append(asyncio.run(twice()))); t.start(); t.join(); out[0]",
      "loop = asyncio.get_event_loop(); x = loop.run_until_complete(twice()); loop.close(); x",
      "await twice()",
    ]) {
      expect([code, await last(code)]).toEqual([code, "2\n"]);
    }
  });

  test("an interrupted await says where it was, cleans up, and is not resumed", async () => {
    const outcome = await run("try:\n    await asyncio.sleep(60)\nfinally:\n    print('cleaned')", {
      timeoutMs: 200,
    });
    expect(outcome.stdout).toBe("cleaned\n");
    expect(outcome.stderr).toMatch(
      /^Traceback .*\n {2}File "<cell \d+>", line 2, in <module>\n(.*\n)+KeyboardInterrupt\n$/,
    );
    expect(outcome.stderr).not.toContain("CancelledError");
    expect(await last("await asyncio.sleep(0.05)\nprint('next')")).toBe("next\n");
    const exited = await run(
      "async def leave(): raise SystemExit(3)\nt = asyncio.create_task(leave())\nawait asyncio.sleep(5)",
    );
    expect(exited).toMatchObject({ stderr: "", reply: { exit_code: 3, kernel: "kept" } });
  });

  test("context variables are those of all cells", async () => {
    expect(
      await last(
        "from contextvars import ContextVar\nv = ContextVar('v')\nt = v.set(1)",
        "await asyncio.sleep(0); t = v.set(v.get() + 1)",
        "v.get()",
      ),
    ).toBe("2\n");
  });
});

describe("magics and help", () => {
  test("the first lines of notebooks do no harm and say nothing", async () => {
    const outcome = await run(
      "%matplotlib inline\n%config InlineBackend.figure_format = 'retina'\n%load_ext autoreload\n%autoreload 0\nprint('go')",
    );
    expect(outcome).toMatchObject({ stdout: "go\n", stderr: "", reply: { exit_code: 0 } });
    await last("%config InlineBackend.figure_formats = ['svg']");
    const svg = await run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()");
    expect([...svg.files.keys()]).toEqual(["plot_1.svg"]);
    await last("%config InlineBackend.figure_formats = ['png']");
    expect(await last("get_ipython().run_line_magic('matplotlib', 'inline')")).toBe("");
    expect((await run("%pylab inline")).stdout).toContain("Populating the interactive namespace");
    expect(await last("int(zeros(2).sum() + pi)")).toBe("3\n");
    expect(await last("%gui")).toBe("");
    const qt = await run("%matplotlib qt\nprint('on')");
    expect(qt).toMatchObject({ stdout: "on\n", reply: { exit_code: 0 } });
    expect(qt.stderr).toContain("There is no display");
    expect((await run("%matplotlib widget\nprint('on')")).stdout).toBe("on\n");
    expect((await run("%matplotlib no-such-backend")).reply.exit_code).toBe(1);
  });

  test("help in all its spellings", async () => {
    await last("def area(r):\n    'Area of a circle.'\n    return 3 * r * r");
    for (const [code, text] of [
      ["area?", "Area of a circle."],
      ["?area", "Signature: area(r)"],
      ["area??", "return 3 * r * r"],
      ["%pdoc area", "Area of a circle."],
      ["%psource area", "return 3 * r * r"],
      ["%pinfo area", "Docstring: Area"],
      ["len?", "Return the number of items"],
      ["help(area)", "Area of a circle."],
      ["%pdef area", "area(r)"],
      ["*area*?", "area"],
      ["get_ipython().run_line_magic('pinfo', 'area')", "Area of a circle."],
    ] as const) {
      expect(await last(code)).toContain(text);
    }
    expect(await last("nothing_of_this_name?")).toBe("Object `nothing_of_this_name` not found.\n");
  });

  test("%%capture, %%writefile, %run, %%bash, %time, %cd, %who, %reset, names alone", async () => {
    await last("%%capture kept\nprint('inside')\ndisplay(1)\n3 + 4");
    expect(await last("print(repr(kept.stdout), len(kept.outputs))")).toBe("'inside\\n' 2\n");
    const captured = await run(
      "%%capture figures\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.figure(); _ = plt.plot([2, 1])",
    );
    expect(captured).toMatchObject({ stdout: "", files: new Map() });
    expect(await last("len(figures.outputs)")).toBe("2\n");
    await last(
      "%%writefile tool.py\nimport sys\nVALUE = 8\nif __name__ == '__main__':\n    print(sys.argv[1:])",
    );
    expect(await last("%run tool.py a b")).toBe("['a', 'b']\n");
    expect(await last("%%time\nz = VALUE + 1", "z")).toBe("9\n");
    expect(await last("%%bash\nls tool.py")).toBe("tool.py\n");
    expect(await last("%cd /tmp\n!pwd").then((text) => text.replaceAll("\r", ""))).toBe("/tmp\n/tmp\n");
    expect(await last("%cd -q /tmp\n%cd -")).toBe(`${sandbox.data}\n`);
    expect(await last("pwd")).toBe(`'${sandbox.data}'\n`);
    expect(await last("%reset -f", "a = 1", "%who").then((text) => text.trim())).toBe("a");
    expect((await run("exit")).reply).toMatchObject({ exit_code: 0, kernel: "kept" });
    expect(await last("a")).toBe("1\n");
  });

  test("cell events: callbacks and %autoreload", async () => {
    await last(
      "ip = get_ipython()\nlog = []\nip.events.register('pre_run_cell', lambda info: log.append(('pre', info.raw_cell)))\nip.events.register('post_run_cell', lambda result: log.append(('post', result.result)))",
    );
    expect(await last("5", "log[-1], log[-3:-1]")).toBe(
      "5\n(('pre', 'log[-1], log[-3:-1]'), [('pre', '5'), ('post', 5)])\n".slice(2),
    );
    await last(
      "open('mod_a.py', 'w').write('def f(): return 1')\n%load_ext autoreload\n%autoreload 2\nimport mod_a;",
    );
    await last(
      "import os\nopen('mod_a.py', 'w').write('def f(): return 22')\nos.utime('mod_a.py', (1, 2e9))",
    );
    expect(await last("mod_a.f()")).toBe("22\n");
    await last("%autoreload off");
    await last("import sys; del sys.modules['IPython.extensions.autoreload']");
  });
});

describe("values", () => {
  test.each([
    ["t = 'Case'\nt.replace('C', '#');", ""],
    ["6 * 7  # done;", "42\n"],
    ["6 * 7;  # done", ""],
    ["6 * 7;\n\n# and a comment\n", ""],
    ["'a;'", "'a;'\n"],
    ["'''\n;'''", "'\\n;'\n"],
    ["x = 1; x", "1\n"],
    ["1; 2;", ""],
    ["get_ipython().run_cell('1 + 1')\n'outer';", "2\n"],
    ["%time 6 * 7;", ""],
  ])("a semicolon, by its token: %j", async (code, stdout) => {
    const outcome = await run(code);
    expect(outcome.stdout.replaceAll(/^(CPU times|Wall time).*\n/gm, "")).toBe(stdout);
  });

  test("`_` is the last value, unless the code has a name for it", async () => {
    expect(await last("41", "_ + 1", "_, __")).toBe("(42, 41)\n");
    expect(await last("_ = 'mine'", "7", "_")).toBe("'mine'\n");
    expect(await last("del _", "8", "_")).toBe("8\n");
  });

  test("as IPython prints them", async () => {
    expect(await last("class P:\n    def _repr_pretty_(self, p, cycle): p.text('pretty')\nP()")).toBe(
      "pretty\n",
    );
    expect(await last("%precision 2", "3.14159")).toBe("3.14\n");
    await last("%precision %r");
    expect(await last("{3, 1, 2}")).toBe("{1, 2, 3}\n");
    expect(
      await last(
        "get_ipython().display_formatter.formatters['text/plain'].for_type(complex, lambda c, p, cycle: p.text('C'))\n1j",
      ),
    ).toBe("C\n");
    const failing = await run("class Bad:\n    def __repr__(self): raise ValueError('no text')\nBad()");
    expect(failing.reply).toMatchObject({ exit_code: 1, ename: "ValueError" });
    expect(failing.stderr).not.toMatch(/IPython|kernel/);
  });
});

describe("modules and warnings", () => {
  test("a module of the working directory that changed is read again, others keep their state", async () => {
    await last(
      "def put(name, text):\n    with open(name, 'w') as file: file.write(text)\nput('helper.py', 'def f(): return \"old\"'); put('state.py', 'COUNT = 0'); put('user.py', 'from helper import f')",
    );
    expect(await last("import helper, state, user\nstate.COUNT += 1\nhelper.f(), user.f()")).toBe(
      "('old', 'old')\n",
    );
    // Written and imported in one cell; the module that took from it too.
    expect(
      await last(
        "put('helper.py', 'def f(): return \"newer\"')\nimport helper, state, user\nhelper.f(), user.f(), state.COUNT",
      ),
    ).toBe("('newer', 'newer', 1)\n");
    // Written by another call, imported by name.
    await run("echo 'def f(): return \"newest of all\"' > helper.py", { language: "bash" });
    expect(await last("import importlib\nimportlib.import_module('helper').f()")).toBe("'newest of all'\n");
    expect(
      await last(
        "before = importlib.import_module('helper')\nimport helper, state\nhelper is before, state.COUNT",
      ),
    ).toBe("(True, 1)\n");
    expect(await last("importlib.reload(state).COUNT")).toBe("0\n");
    await last(
      "import os; os.mkdir('pkg'); put('pkg/__init__.py', 'from .sub import g'); put('pkg/sub.py', 'def g(): return 1')",
    );
    expect(await last("import pkg; pkg.g()")).toBe("1\n");
    await last("put('pkg/sub.py', 'def g(): return 10')");
    expect(await last("from pkg import g; g()")).toBe("10\n");
    await last("import os; os.remove('helper.py')");
    expect((await run("import helper")).reply.ename).toBe("ModuleNotFoundError");
    await last("put('helper.py', 'syntax error')");
    expect((await run("import helper")).stderr).toContain('helper.py", line 1');
  });

  test("a warning is shown in every call, and once in each", async () => {
    const warn = "import warnings\nfor _ in range(3): warnings.warn('careful')";
    for (let call = 0; call < 3; call++) {
      expect((await run(warn)).stderr).toMatch(/^<cell \d+>:2: UserWarning: careful\n {2}for _ .*\n$/);
    }
    await last(
      "put('noisy.py', 'import warnings\\ndef f(): warnings.warn(\"from a module\")')\nimport noisy",
    );
    for (let call = 0; call < 2; call++) {
      expect(
        (await run("noisy.f(); noisy.f()")).stderr.match(/from a module"?\)?$/gm)?.length,
      ).toBeGreaterThan(0);
    }
    expect((await run("warnings.warn('far', stacklevel=2)")).stderr).toBe("sys:1: UserWarning: far\n");
  });

  test("data files named like modules of the standard library break nothing of ours", async () => {
    const names =
      "code random html base64 traceback ast json queue fcntl select webbrowser types warnings".split(" ");
    await last(`for n in ${JSON.stringify(names)}:\n    put(n + '.py', 'raise RuntimeError("shadowed")')`);
    const failed = await run("1 / 0");
    expect(failed.stderr).toContain("ZeroDivisionError");
    expect(failed.stderr).not.toContain("shadowed");
    const shown = await run(
      "from IPython.display import HTML\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); display(HTML('<b>x</b>'))",
    );
    expect([shown.stderr, shown.files.size]).toEqual(["", 2]);
    expect((await run("!echo shell\nprint('fine')")).stdout.replaceAll("\r", "")).toBe("shell\nfine\n");
    await last(`import os\nfor n in ${JSON.stringify(names)}: os.remove(n + '.py')`);
  });
});

describe("errors", () => {
  test("no file of ours, wherever code prints a stack", async () => {
    for (const code of [
      "import traceback\ndef f(): traceback.print_stack()\nf()",
      "import logging\nlogging.getLogger('x').error('%d %d', 1)",
      "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()",
      "class D:\n    def __del__(self): 1 / 0\nd = D(); del d",
      "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
      "await asyncio.sleep(0)\n1 / 0",
      "asyncio.run(missing())",
      "import sys\nsys.excepthook = lambda kind, error, trace: traceback.print_exception(kind, error, trace)\n1 / 0",
      "sys.excepthook = sys.__excepthook__\nget_ipython().run_cell('1 / 0');",
      "eval('1 +')",
    ]) {
      const { stderr } = await run(code);
      expect([code, /File "<(cell|string)/.test(stderr)]).toEqual([code, true]);
      expect(stderr).not.toContain("/kernel/");
    }
  });

  test("%xmode, %tb, custom handlers and renderers have their way", async () => {
    await last("def f(): raise KeyError('k')");
    await last("%xmode Verbose");
    expect((await run("f()")).stderr).toMatch(/-{20,}\nKeyError .*\n(.*\n)*----> 1 f\(\)/);
    await last("%xmode Context");
    await run("f()");
    expect((await run("%tb")).stderr).toContain("KeyError: 'k'");
    await last("class R(Exception):\n    def _render_traceback_(self): return ['rendered by itself']");
    expect((await run("raise R()")).stderr).toBe("rendered by itself\n");
    await last(
      "get_ipython().set_custom_exc((OSError,), lambda shell, kind, error, trace, tb_offset=None: print('handled', error))",
    );
    expect(await run("raise OSError('x')")).toMatchObject({
      stdout: "handled x\n",
      reply: { exit_code: 1, ename: "OSError" },
    });
    expect((await run("a = 1\nreturn a")).stderr).toMatch(/^ {2}File "<cell \d+>", line 2\n {4}return a\n/);
  });
});
