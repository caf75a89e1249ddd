/** What a call leaves running: it lives on in a session, and ends with a program. */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { startNoise } from "./noise.ts";
import { Supervised } from "./supervised.ts";

const sandbox = new Supervised();
afterAll(() => sandbox[Symbol.asyncDispose]());
const run = sandbox.run.bind(sandbox);
const bash = (code: string) => run(code, { language: "bash" });
const pause = (seconds: number) => bash(`sleep ${seconds}`);

describe("between the calls of a session", () => {
  test("a child that prints lives on; what it printed is told once, apart from the next call's output", async () => {
    await run(
      "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-u', '-c', \"import time\\ntime.sleep(0.3); print('listening on 8000')\\ntime.sleep(60)\"])",
    );
    await pause(0.8);
    const next = await run("print(child.poll())");
    expect(next.stdout).toBe("None\n");
    expect(next.stderr).toBe(
      "[sandbox] Printed since the last call by what was left running:\nlistening on 8000\n",
    );
    expect(await run("print(child.poll())")).toMatchObject({ stdout: "None\n", stderr: "" });
    await run("child.kill()");
  });

  test("a server goes on serving while it logs far more than a pipe holds", async () => {
    const server =
      "import subprocess, sys\nserver = subprocess.Popen([sys.executable, '-u', '-c', \"import sys, time\\nfor i in range(3000): print('x' * 100); time.sleep(0.0002)\\nopen('served', 'w').close()\"])";
    await run(server);
    await pause(3);
    const next = await run("import os\nos.path.exists('served'), server.wait()");
    expect(next.stdout).toBe("(True, 0)\n");
    expect(next.stderr).toMatch(
      /^\[sandbox\] Printed .*\nx+\n(x+\n)+x*\n\(\d{5,} more bytes are not shown\.\)\n$/,
    );
  });

  test("one that prints for ever is not ended, costs little, and disturbs no call", async () => {
    await startNoise(sandbox);
    const ticks = () =>
      readFileSync(`/proc/${sandbox.process.pid}/stat`, "utf8")
        .split(" ")
        .slice(13, 15)
        .map(Number)
        .reduce((a, b) => a + b);
    const before = ticks();
    await pause(2);
    // Hundredths of a second of CPU time; reading all of it takes all of one CPU.
    expect(ticks() - before).toBeLessThan(60);
    expect((await run("print(noise.poll())")).stdout).toBe("None\n");
    expect((await run("print('quiet')")).stdout).toBe("quiet\n");
    await run("noise.kill()");
    await pause(0.2);
    await run("pass");
  });

  test("pools kept in a variable, background jobs of bash, and what left its parents", async () => {
    await run("from multiprocessing import Pool\npool = Pool(2)");
    await bash(
      "(until [ -e go ]; do sleep 0.05; done; echo from a job; touch told; sleep 77.125) & echo started",
    );
    await run("import os\nos.system('setsid sleep 78.125 &');");
    await bash(
      "touch go; until [ -e told ] && pgrep -f 'sleep 77[.]125' && pgrep -f 'sleep 78[.]125'; do sleep 0.05; done",
    );
    await bash("rm go told");
    const next = await run("pool.map(abs, [-1, -2])");
    expect(next.stdout).toBe("[1, 2]\n");
    expect(next.stderr).toBe("[sandbox] Printed since the last call by what was left running:\nfrom a job\n");
    expect((await bash("pgrep -f 'sleep 7[78][.]125' | wc -l")).stdout.trim()).toBe("2");
    await run("pool.terminate()");
    await bash("pkill -f 'sleep 7[78][.]125'");
  });

  test("the time limit ends a bash program with all that it started", async () => {
    const outcome = await run("sleep 79.125 & sleep 79.125", { language: "bash", timeoutMs: 200 });
    expect(outcome.reply).toMatchObject({ reason: "timeout" });
    expect((await bash("pgrep -f 'sleep 79[.]125' | wc -l")).stdout.trim()).toBe("0");
  });
});

describe("with a program", () => {
  test.each(["py", "bash"])(
    "%s: nothing of what it started stays, and nobody waits for it",
    async (language) => {
      const started = Date.now();
      const outcome = await run(
        language === "py"
          ? "import os, subprocess\nsubprocess.Popen(['sleep', '81.125'])\nos.system('setsid sleep 82.125 &')\nprint('started')"
          : "sleep 81.125 &\n(setsid sleep 82.125 &)\necho started",
        { language, script: true },
      );
      expect(outcome).toMatchObject({ stdout: "started\n", stderr: "", reply: { exit_code: 0 } });
      expect(Date.now() - started).toBeLessThan(10_000);
      expect((await bash("pgrep -f 'sleep 8[12][.]125' | wc -l")).stdout.trim()).toBe("0");
    },
  );
});
