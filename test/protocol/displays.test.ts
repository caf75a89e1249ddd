/** Last values and displays become files that a person can open; their text stays on standard output. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type RunOptions, Supervised } from "./supervised.ts";

describe("displays", () => {
  const sandbox = new Supervised({ preload: ["pandas", "matplotlib", "matplotlib.pyplot"] });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);
  let displays = 0;

  const setup = run(
    "import matplotlib.pyplot as plt, pandas as pd\nfrom IPython.display import *\nfrom PIL import Image as Picture\ndf = pd.DataFrame({'a': [1, 2]})\nfig, ax = plt.subplots(); ax.plot([1, 3, 2]);",
  );

  test.each([
    ["Picture.new('RGB', (40, 30), 'teal')", "png", /^<PIL\.Image\.Image .*>\n$/, "\x89PNG"],
    ["HTML('<b>bold</b>')", "html", /^<IPython\.core\.display\.HTML object>\n$/, "<b>bold</b>"],
    ["Markdown('# title')", "md", /^# title\n$/, "# title"],
    ["SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')", "svg", /^<.*SVG object>\n$/, "<svg"],
    ["df.style.highlight_max()", "html", /^<pandas\.io\.formats\.style\.Styler at 0x.*>\n$/, "<table"],
    ["import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[2, 1]))", "html", /^$/, "Plotly.newPlot"],
    [
      "import altair as alt\nalt.Chart(df).mark_bar().encode(x='a')",
      "html",
      /^alt\.Chart\(\.\.\.\)\n$/,
      "vegaEmbed",
    ],
    [
      "alt.renderers.enable('mimetype')\nalt.Chart(df).mark_bar().encode(x='a')",
      "html",
      /^<VegaLite \d object>\n/,
      "vegaEmbed",
    ],
    // The real library; what stands in for Graphviz's own program draws nothing and says that it was asked for SVG.
    [
      "import os, graphviz\nos.environ['PATH'] += ':/tmp/dot'\ngraphviz.Digraph('g', body=['a -> b'])",
      "svg",
      /^<graphviz\.graphs\.Digraph at .*>\n$/,
      "-Tsvg",
    ],
    [
      "class OwnHtml:\n    def _repr_html_(self): return '<i>own</i>'\nOwnHtml()",
      "html",
      /^<__main__\.OwnHtml at 0x.*>\n$/,
      "<i>own</i>",
    ],
    [
      "class OwnPng:\n    def _repr_png_(self): return b'\\x89PNG own'\nOwnPng()",
      "png",
      /^<__main__\.OwnPng at /,
      "\x89PNG own",
    ],
    ["Image(data=b'GIF89a', format='gif')", "gif", /^<IPython.*Image object>\n$/, "GIF89a"],
    ["display(HTML('<b>d</b>'))", "html", /^<.*HTML object>\n$/, "<b>d</b>"],
    ["display(df)", "html", /^ {3}a\n0 {2}1\n1 {2}2\n$/, "<table"],
    [
      "display({'text/html': '<p>raw</p>', 'text/plain': 'told'}, raw=True)",
      "html",
      /^told\n$/,
      "<p>raw</p>",
    ],
  ])("%s", async (code, extension, text, content) => {
    await setup;
    await run(
      "mkdir -p /tmp/dot; printf '#!/bin/sh\\necho \"<svg><!-- $* --></svg>\"\\n' > /tmp/dot/dot; chmod +x /tmp/dot/dot",
      { language: "bash" },
    );
    const outcome = await run(code);
    displays += 1;
    expect([outcome.stderr, outcome.reply.exit_code]).toEqual(["", 0]);
    expect([...outcome.files.keys()]).toEqual([`display_${displays}.${extension}`]);
    expect([...outcome.files.values()][0]?.bytes.toString("latin1")).toContain(content);
    expect(outcome.stdout).toMatch(text);
    await run("rm -rf /tmp/dot", { language: "bash" });
  });

  test.each([
    ["df", /^ {3}a\n/],
    ["df.a", /^0 {4}1\n/],
    ["1 + 1", /^2\n$/],
    [
      "class Model:\n    def _repr_mimebundle_(self, **_): return {'text/plain': 'Model(x=1)', 'text/html': '<b>diagram</b>'}\nModel()",
      /^Model\(x=1\)\n$/,
    ],
    ["Math('x^2')", /x\^2/],
    ["JSON({'a': 1})", /^\{"a": 1\}\n$/],
    ["HTML('<b>hidden</b>');", /^$/],
    ["None", /^$/],
  ])("text says it all: %s", async (code, text) => {
    const outcome = await run(code);
    expect(outcome.stdout).toMatch(text);
    expect(outcome.files.size).toBe(0);
  });

  test("figures: closed ones too, each once, with those that are shown or left open", async () => {
    const names = async (code: string) => [...(await run(code)).files.keys()];
    expect((await run("ax.set_title('second look')\nfig")).stdout).toBe(
      "<Figure size 640x480 with 1 Axes>\n",
    );
    await run("rm plot_*.png", { language: "bash" });
    const first = await names("fig");
    expect(first).toHaveLength(1);
    expect(await names("print('no plot')")).toEqual([]);
    expect(await names("f, a = plt.subplots(); a.plot([1])\nf")).toHaveLength(1);
    expect(await names("f, a = plt.subplots(); a.plot([1])\nf.savefig('own.png')\nf")).toEqual(["own.png"]);
    expect(
      await names("for i in range(2):\n    plt.figure(); plt.plot([i]); plt.show()\nplt.plot([3])"),
    ).toHaveLength(3);
    expect(
      await names(
        "f, a = plt.subplots()\nfor i in range(3):\n    a.clear(); a.plot([0, i]); plt.pause(0.01)\nf.savefig('last.png')",
      ),
    ).toEqual(["last.png"]);
    expect(await names("display(fig, fig)")).toHaveLength(1);
    expect(await names("plt.plot([1]); fig.show()")).toHaveLength(2);
  });

  test("a display that is updated is one file; numbers go on where a new kernel begins", async () => {
    const outcome = await run("h = display(HTML('one'), display_id=True)\nh.update(HTML('two'))");
    expect(outcome.files.size).toBe(1);
    const [[name, file] = ["", undefined]] = [...outcome.files];
    expect(file?.bytes.toString()).toContain("two");
    await run("import os; os._exit(0)");
    const next = await run("from IPython.display import HTML\nHTML('x')");
    expect([...next.files.keys()]).toEqual([name.replace(/\d+/, (n) => String(Number(n) + 1))]);
  });

  test("what opens a browser leaves its page", async () => {
    const page = await run(
      "import webbrowser\nopen('/tmp/page.html', 'w').write('<html>a page</html>')\nwebbrowser.open('file:///tmp/page.html');",
    );
    expect([...page.files.values()].map(({ bytes }) => bytes.toString())).toEqual(["<html>a page</html>"]);
    const shown = await run("import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1])).show()");
    expect(shown.stderr).toBe("");
    expect([...shown.files.values()].map(({ bytes }) => bytes.includes("Plotly.newPlot"))).toEqual([true]);
    const own = await run("open('own.html', 'w').write('x')\nwebbrowser.open('own.html');");
    expect([...own.files.keys()]).toEqual(["own.html"]);
    expect((await run("webbrowser.open('https://example.com')")).stderr).toContain(
      "no browser and no network",
    );
  });

  test("a directory that takes no files is said so", async () => {
    const outcome = await run(
      "import os, resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\nHTML('<b>x</b>' * 100)",
    );
    expect(outcome.stderr).toContain("[sandbox] A display could not be saved");
    expect(outcome.reply.exit_code).toBe(0);
  });
});

describe("what is shown while the code runs", () => {
  const sandbox = new Supervised({ preload: ["matplotlib", "matplotlib.pyplot"] });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const DISPLAYS = { max_files: 5, max_file_bytes: 50_000, max_total_bytes: 200_000 };
  const IMPORTS =
    "import os, time\nimport matplotlib.pyplot as plt\nfrom IPython.display import HTML, Image, display\nimport sys\n";

  /** Runs it, with everything that was heard before its files, in order. */
  async function watched(code: string, options: RunOptions = {}) {
    const heard: string[] = [];
    const shown: { path: string; bytes: Buffer }[] = [];
    const outcome = await sandbox.run(code, {
      displays: DISPLAYS,
      ...options,
      onStream: (text) => heard.push(text),
      onDisplay(path, bytes) {
        heard.push(path);
        shown.push({ path, bytes });
        options.onDisplay?.(path, bytes);
      },
    });
    return { ...outcome, heard, shown };
  }

  test.each([{ script: false }, { script: true }])(
    "a figure and a display come before the code goes on, after what was printed before ($script)",
    async (how) => {
      const go = join(sandbox.data, "go");
      const { files, heard, reply, shown, stdout } = await watched(
        `${IMPORTS}print("before", end="")\nplt.plot([1, 2]); plt.show()\nprint("between")\ndisplay(HTML("<b>x</b>"))\nwhile not os.path.exists("go"): time.sleep(0.005)\nos.unlink("go")\nprint("after")`,
        // The code ends when this has been heard, and not before.
        { ...how, onDisplay: (path) => path.endsWith(".html") && writeFileSync(go, "") },
      );
      expect(reply.exit_code).toBe(0);
      expect(shown.map(({ path }) => path.replace(/\d+/, "N"))).toEqual(["plot_N.png", "display_N.html"]);
      const at = (text: string | RegExp) => heard.findIndex((piece) => piece.match(text) !== null);
      expect(at(/before/)).toBeLessThan(at(/^plot/));
      expect(at(/between/)).toBeLessThan(at(/^display/));
      expect(stdout).toBe("beforebetween\n<IPython.core.display.HTML object>\nafter\n");
      // The files are what they are without anybody looking on: each once, the same bytes.
      expect([...files.keys()].sort()).toEqual(shown.map(({ path }) => path).sort());
      for (const { path, bytes } of shown) expect(files.get(path)?.bytes.equals(bytes)).toBe(true);
    },
  );

  test("an update comes again under its name; too many, too large and too much are in the files alone", async () => {
    const seen: string[] = [];
    const { files, shown } = await watched(
      `${IMPORTS}h = display(HTML("0"), display_id=True)
for n in range(1, 9):
    while n <= 5 and not os.path.exists(f"go-{n}"): time.sleep(0.005)
    h.update(HTML(str(n)))
[os.unlink(f"go-{n}") for n in range(1, 6)];`,
      { onDisplay: (path) => writeFileSync(join(sandbox.data, `go-${seen.push(path)}`), "") },
    );
    expect(files.size).toBe(1);
    expect(new Set(seen)).toEqual(new Set(files.keys()));
    expect(shown.map(({ bytes }) => /(\d)\n$/.exec(bytes.toString())?.[1])).toEqual([
      "0",
      "1",
      "2",
      "3",
      "4",
    ]);
    const large = await watched(
      `${IMPORTS}for n in (60_000, 49_000, 40_000): display(Image(data=b"\\x89PNG" + os.urandom(n), format="png"))`,
      { displays: { ...DISPLAYS, max_total_bytes: 60_000 } },
    );
    expect(large.files.size).toBe(3);
    expect(large.shown.map(({ bytes }) => bytes.length)).toEqual([49_004]);
  });

  test("nothing is sent unless it was asked for, nor for a child or a thread that outlived its call", async () => {
    expect((await sandbox.run(`${IMPORTS}plt.plot([1]); plt.show()`)).files.size).toBe(1);
    const child = await watched(
      `${IMPORTS}pid = os.fork()\nif pid == 0:\n    display(HTML("child")); os._exit(0)\nos.waitpid(pid, 0)`,
    );
    expect(child.shown).toEqual([]);
    expect(child.files.size).toBe(1);
    const late = await watched(
      `${IMPORTS}import threading\ndef later():\n    while not os.path.exists("late"): time.sleep(0.005)\n    display(HTML("late"))\n    open("done", "w").close()\nthreading.Thread(target=later).start()`,
    );
    expect(late.shown).toEqual([]);
    writeFileSync(join(sandbox.data, "late"), "");
    const next = await sandbox.run(
      "while not os.path.exists('done'): time.sleep(0.005)\nprint('kept')\nos.unlink('late'), os.unlink('done');",
    );
    expect(next.stdout).toContain("kept\n");
    expect(next.reply.kernel).toBe("kept");
  });

  test("names that code tells in our name are sent only where they are such files", async () => {
    const forged = await watched(
      `${IMPORTS}import zlib
ours = get_ipython().display_pub.names.on_saved.__self__
os.mkfifo("plot_900.png"); os.symlink("/etc/passwd", "plot_901.png"); os.mkdir("plot_902.png")
def tell(name, **other):
    content = b"x" * 10
    told = {"bytes": len(content), "crc32": zlib.crc32(content), **other}
    ours._control.send({"run": ours._run, "shown": name, **told})
passwd = open("/etc/passwd", "rb").read()
tell("plot_901.png", bytes=len(passwd), crc32=zlib.crc32(passwd))
for name in ("plot_900.png", "plot_902.png", "plot_903.png", "../../etc/passwd", 7, None, "plot_.png"): tell(name)
open("plot_904.png", "wb").write(b"x" * 10)
tell("plot_904.png", bytes="10")
tell("plot_904.png", crc32=0)
tell("plot_904.png", run=ours._run + 5)
print("went on")`,
      { collect: false, displays: { ...DISPLAYS, max_files: 20 } },
    );
    expect(forged.shown).toEqual([]);
    expect(forged.reply).toMatchObject({ status: "ok", kernel: "kept" });
    await sandbox.run("os.unlink('plot_900.png'); os.unlink('plot_901.png'); os.rmdir('plot_902.png')");
  });
});
