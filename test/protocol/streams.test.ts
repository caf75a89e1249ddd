/** Streams and descriptors 0 to 2, which user code cannot break for the calls that follow. */
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

describe("streams of a session", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);

  test("what a call did to them, the next one prints and logs as ever, and variables stay", async () => {
    await run(
      "import logging, sys\nkept = 41\nlogging.basicConfig(stream=sys.stdout, level=logging.INFO, format='%(message)s', force=True)\nerr = logging.StreamHandler(); logging.getLogger('e').addHandler(err)",
    );
    for (const [code, stdout] of [
      [
        "import io\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('géant')",
        "géant\n",
      ],
      [
        "import codecs\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\nprint('détaché')",
        "détaché\n",
      ],
      ["raw = sys.stdout.buffer.detach()\nprint('raw', raw.write(b'x\\n'))", "x\nraw 2\n"],
      [
        "sys.stdout = open(sys.stdout.fileno(), 'w', encoding='utf8', buffering=1)\nprint('opened')",
        "opened\n",
      ],
      ["sys.stdout = open(1, 'w', closefd=False); print('shared')", "shared\n"],
      [
        "sys.stdout.buffer.raw.close(); sys.stdout.buffer.close(); sys.stdout.close(); sys.stderr.close()",
        "",
      ],
      ["import os; os.close(1); os.close(2); os.close(0)", ""],
      ["f = open('/dev/null', 'w'); os.dup2(f.fileno(), 1); os.dup2(f.fileno(), 2); print('lost')", ""],
      ["sys.stdout = sys.stderr = None", ""],
      ["sys.stdout = io.StringIO(); print('lost')", ""],
      [
        "class Tee:\n    def __init__(self, out): self.out = out\n    def write(self, text): self.out.write(text.upper())\nsys.stdout = Tee(sys.stdout); print('tee')",
        "TEE\n",
      ],
      ["sys.stdout.write = sys.stdout.flush = lambda *a: None; print('lost')", ""],
      ["sys.stdout.reconfigure(encoding='ascii', errors='replace', newline='\\r\\n'); print('é')", "?\r\n"],
      ["sys.__stdout__ = sys.__stderr__ = sys.stdin = None; del sys.stdout", ""],
      ["with os.fdopen(1, 'w') as f: f.write('by fdopen\\n')", "by fdopen\n"],
      ["print('no newline', end='')", "no newline"],
      ["sys.displayhook = None; del __builtins__", ""],
    ] as const) {
      const outcome = await run(code);
      expect([code, outcome.stdout, outcome.reply.kernel]).toEqual([code, stdout, "kept"]);
      const next = await run(
        "print(kept + 1, 'é'); logging.info('logged')\nlogging.getLogger('e').error('to stderr')\n'value'",
      );
      expect([code, next.stdout]).toEqual([code, "42 é\nlogged\nto stderr\n'value'\n"]);
      expect([code, next.stderr, next.reply.exit_code]).toEqual([code, "to stderr\n", 0]);
    }
  });

  test("what could not be written never shows up later", async () => {
    const lost = "import os\nfull = os.open('/dev/full', os.O_WRONLY)\nsaved = os.dup(1)\nos.dup2(full, 1)\n";
    expect((await run(`${lost}print('lost 1', end='')`)).stdout).toBe("");
    expect((await run("print('next')")).stdout).toBe("next\n");
    const restored = await run(
      `${lost}try: print('lost 2')\nexcept OSError as e: pass\nsys.stdout.write('lost 3')\nos.dup2(saved, 1)`,
    );
    expect(restored.reply.kernel).toBe("kept");
    expect((await run("print('next')")).stdout).toBe("next\n");
    const failed = await run(`${lost}print('lost 4')`);
    expect(failed).toMatchObject({ stdout: "", reply: { ename: "OSError", exit_code: 1 } });
    expect((await run("print('next')")).stdout).toBe("next\n");
  });

  test("bytes, text, children and raw descriptors keep their places", async () => {
    const outcome = await run(
      [
        "import os, subprocess, sys",
        "print('a'); sys.stdout.buffer.write(b'b\\n'); sys.stdout.buffer.flush(); print('c')",
        "print('d', end=' '); subprocess.run(['echo', 'e'])",
        "print('f', end=' '); os.system('echo g')",
        "print('h', end=' ')",
        "if os.fork() == 0:",
        "    print('i'); os._exit(0)",
        "os.wait(); print('j')",
        "for i in range(0, 101, 50): print(f'\\r{i:3d}%', end='', flush=True)",
      ].join("\n"),
    );
    expect(outcome.stdout).toBe("a\nb\nc\nd e\nf g\nh i\nj\n\r  0%\r 50%\r100%");
  });

  test("a program of its own has the plain ones", async () => {
    const outcome = await run(
      "import io, sys\nprint(type(sys.stdout) is io.TextIOWrapper, sys.stdout.name, sys.stdout.mode)\nsys.stdout.close()\nprint('x')",
      { script: true },
    );
    expect(outcome.stdout).toBe("True <stdout> w\n");
    expect(outcome.stderr).toMatch(/ValueError: I\/O operation on closed file\.\n$/);
    expect((await run("print('after')")).stdout).toBe("after\n");
  });
});
