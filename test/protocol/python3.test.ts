import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { makeSandboxPrograms } from "./sandbox-programs.ts";
import { python, Supervised } from "./supervised.ts";

const MIB = 1024 * 1024;
/** Says so on standard error when it is not a fork. */
const EXPLAIN = "export KERNELYARD_PYTHON=explain\n";

const connect = async (name: string): Promise<Socket> => {
  const socket = createConnection({ path: `\0${name}` });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
};

describe("python3 in a bash program", async () => {
  const programs = await makeSandboxPrograms(python);
  const sandbox = new Supervised({
    programs,
    preload: ["numpy", "pandas", "matplotlib.pyplot"],
  });
  afterAll(async () => {
    await sandbox[Symbol.asyncDispose]();
    programs.remove();
  });
  const bash = (code: string, options: Parameters<Supervised["run"]>[1] = {}) =>
    sandbox.run(EXPLAIN + code, { language: "bash", ...options });

  test("is a fork with the libraries in memory", async () => {
    await sandbox.hello();
    const outcome = await bash(`python3 - a b <<'PY'
import gc, sys, pandas
print(gc.get_freeze_count() > 0, sys.argv, pandas.DataFrame({"a": [1, 2]}).a.sum())
PY`);
    expect(outcome).toMatchObject({
      stdout: "True ['-', 'a', 'b'] 3\n",
      stderr: "",
      reply: { exit_code: 0 },
    });
  });

  test("knows nothing of another call: environment, descriptors, temporary files, secrets", async () => {
    const first = await bash(`export SECRET=hunter2; exec 7< /dev/null
python3 - <<'PY'
import os, tempfile, multiprocessing as mp
print(os.environ["SECRET"], os.path.exists("/proc/self/fd/7"), mp.current_process().authkey.hex())
open(tempfile.mkdtemp(prefix="one-") + "/secret", "w").write("hunter2")
tempfile.tempdir = "/nowhere"
PY`);
    const second = await bash(`python3 - <<'PY'
import os, tempfile, multiprocessing as mp
print("SECRET" in os.environ, os.path.exists("/proc/self/fd/7"), mp.current_process().authkey.hex())
print(tempfile.gettempdir() == "/tmp", sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3])
PY`);
    const [secret, open, key] = first.stdout.trim().split(" ");
    expect([secret, open]).toEqual(["hunter2", "True"]);
    expect(second.stdout).toMatch(/^False False [0-9a-f]{64}\nTrue \[0, 1, 2\]\n$/);
    expect(second.stdout).not.toContain(key);
  });

  test("draws other numbers each time, and others than the kernel", async () => {
    const draw =
      "import random, numpy, uuid, secrets, tempfile; print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(), uuid.uuid4(), secrets.token_hex(4), tempfile.mktemp())";
    const outcome = await bash(`for i in 1 2 3; do python3 -c '${draw}'; done; kernel '${draw}'`);
    const numbers = outcome.stdout.trim().split(/\s+/);
    expect(outcome.stderr).toBe("");
    expect(numbers).toHaveLength(24);
    expect(new Set(numbers).size).toBe(24);
  });

  test("whose program needs no library is a fork of a template without, and knows as little", async () => {
    const draw = `python3 - <<'PY'
import os, random, secrets, tempfile
print("SECRET" in os.environ, os.path.exists("/proc/self/fd/7"), sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3])
print(random.random(), random.getrandbits(60), secrets.token_hex(8), os.urandom(8).hex(), tempfile.mkdtemp(), end=" ")
tempfile.tempdir = "/nowhere"
random.seed(1)
PY
`;
    const outcome = await bash(
      `KERNELYARD_PYTHON=which
(export SECRET=hunter2; exec 7< /dev/null; python3 -c 'import random, os; random.seed(1); os.environ["OTHER"] = "1"')
${draw}${draw}python3 -c 'import os; print(os.getenv("OTHER"), os.path.exists("/nowhere"))'`,
    );
    expect(outcome.stderr).toBe("python3: run by a fork without libraries\n".repeat(4));
    const words = outcome.stdout.trim().split("False False [0, 1, 2]\n").slice(1).join("").split(/\s+/);
    expect(words.splice(-2)).toEqual(["None", "False"]);
    expect(new Set(words).size).toBe(10);
  });

  test("finds its libraries where they were not to be seen in its text", async () => {
    const outcome = await bash(
      `KERNELYARD_PYTHON=which python3 -c 'print(getattr(__builtins__, "__im" + "port__")("num" + "py").arange(4).sum())'`,
    );
    expect(outcome).toMatchObject({ stdout: "6\n", stderr: "python3: run by a fork without libraries\n" });
  });

  test("figures that are shown or left open are files of the call, once", async () => {
    const code = (body: string) => `python3 - <<'PY'\nimport matplotlib.pyplot as plt\n${body}\nPY\n`;
    const outcome = await bash(
      code("plt.plot([1, 2]); plt.show(); plt.figure(); plt.bar([1], [2])") +
        code("fig, ax = plt.subplots(); ax.plot([1]); fig.savefig('mine.png')") +
        code("import matplotlib; matplotlib.use('Agg'); plt.plot([3]); 1 / 0") +
        `KERNELYARD_PYTHON=plain ${code("plt.pie([1, 2])")}`,
    );
    expect([...outcome.files.keys()].sort()).toEqual([
      "mine.png",
      "plot_1.png",
      "plot_2.png",
      "plot_3.png",
      "plot_4.png",
    ]);
    for (const { bytes } of outcome.files.values()) expect(bytes.subarray(1, 4).toString()).toBe("PNG");
  });

  test("many at once, each over at once, end as they end", async () => {
    // Some end before the template has taken notice of their beginning.
    const outcome = await bash(`for round in 1 2 3; do
  pids=(); for i in $(seq 20); do python3 -c "raise SystemExit($i)" & pids+=($!); done
  for pid in "\${pids[@]}"; do wait "$pid"; printf '%s ' $?; done; echo
done`);
    const codes = Array.from({ length: 20 }, (_, index) => `${index + 1} `).join("");
    expect(outcome).toMatchObject({ stdout: `${codes}\n`.repeat(3), stderr: "" });
  });

  test("is ended by the time limit, with its children", async () => {
    const outcome = await bash(
      `python3 -c 'import subprocess, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.run(["sleep", "1234"])'`,
      { timeoutMs: 1000 },
    );
    expect(outcome.reply).toMatchObject({ reason: "timeout", signal: "SIGTERM" });
    expect((await bash("pgrep -fx 'sleep 1234' || echo none")).stdout).toBe("none\n");
  });

  test("of a program without a session, nothing is left", async () => {
    const outcome = await bash("python3 -c 'import time; time.sleep(1235)' & sleep 0.3", { script: true });
    expect(outcome.reply.exit_code).toBe(0);
    const left = await bash("sleep 0.2; pgrep -fc 'sleep.123[5]'");
    expect(left.stdout).toBe("0\n");
  });

  test("in a session, what a cell started lives on, and dies with its client", async () => {
    const started = await sandbox.run(
      `import subprocess
p = subprocess.Popen(["python3", "-c", "import time, os; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"])
import time
while not __import__('os').path.exists('pid') or not open('pid').read(): time.sleep(0.01)
pid = int(open('pid').read()); pid != p.pid`,
    );
    expect(started).toMatchObject({ stdout: "True\n" });
    await bash("true");
    const later = await sandbox.run(`import os
os.kill(pid, 0); print(p.poll())
p.kill(); print(p.wait())
for _ in range(100):
    try: os.kill(pid, 0)
    except ProcessLookupError: print("gone"); break
    time.sleep(0.02)`);
    expect(later).toMatchObject({ stdout: "None\n-9\ngone\n", stderr: "" });
  });

  test("clients that say nothing, or nonsense, take nobody's turn", async () => {
    const silent = await Promise.all(Array.from({ length: 20 }, () => connect(programs.pythonSocket)));
    const nonsense = await Promise.all(Array.from({ length: 20 }, () => connect(programs.pythonSocket)));
    for (const [index, socket] of nonsense.entries()) {
      const head = Buffer.alloc(432, index);
      if (index % 2 === 0) head.write("KYP1");
      if (index % 4 === 0) head.writeUInt32LE(0xffffffff, 4);
      socket.write(head.subarray(0, 1 + index * 22));
    }
    const outcome = await bash("for i in 1 2 3; do python3 -c 'print(1)' 2> /dev/null; done");
    expect(outcome.stdout).toBe("1\n1\n1\n");
    for (const socket of [...silent, ...nonsense]) socket.destroy();
    await delay(100);
    const after = await bash("python3 -c 'import gc; print(gc.get_freeze_count() > 0)'");
    expect(after).toMatchObject({ stdout: "True\n", stderr: "" });
  });

  test("a silent client is hung up on", async () => {
    const socket = await connect(programs.pythonSocket);
    const started = Date.now();
    socket.resume();
    await once(socket, "close");
    expect(Date.now() - started).toBeGreaterThan(1000);
  });

  test("without a light template, the other one does it", async () => {
    const outcome = await bash(`export KERNELYARD_PYTHON=which
light=$(python3 -c 'print(open("/proc/self/stat").read().rpartition(")")[2].split()[1])')
kill -KILL $light; while kill -0 $light 2> /dev/null; do sleep 0.01; done; python3 -c 'print(2)'`);
    expect(outcome).toMatchObject({
      stdout: "2\n",
      stderr: "python3: run by a fork without libraries\npython3: run by a fork with the libraries\n",
    });
  });

  test("without a template, the interpreter itself does it; then there is a template again", async () => {
    const outcome = await bash(`template=$(pgrep -P $PPID -f '[k]ernel/__main__.py')
kill -KILL $(pgrep -P $template) $template
python3 -c 'import gc; print(gc.get_freeze_count())'`);
    expect(outcome.stdout).toBe("0\n");
    expect(outcome.stderr).toContain("python3: run by the interpreter itself: ");
    for (;;) {
      const again = await bash("python3 -c 'import gc; print(gc.get_freeze_count() > 0)' 2> /dev/null");
      if (again.stdout === "True\n") break;
      await delay(100);
    }
  });
});

describe("memory", async () => {
  const programs = await makeSandboxPrograms(python);
  const sandbox = new Supervised({
    programs,
    env: { KERNELYARD_SANDBOX_MEMORY: String(400 * MIB) },
  });
  afterAll(async () => {
    await sandbox[Symbol.asyncDispose]();
    programs.remove();
  });

  test("of a forked python3 is the sandbox's", async () => {
    await sandbox.hello();
    const outcome = await sandbox.run(
      `${EXPLAIN}python3 -c 'import time; x = b"x" * (350 << 20); print("has it", flush=True); time.sleep(30)'`,
      { language: "bash" },
    );
    expect(outcome.reply).toMatchObject({ reason: "out_of_memory" });
    expect(outcome.stderr).not.toContain("interpreter itself");
    expect((await sandbox.run("1 + 1")).stdout).toBe("2\n");
  });
});

describe("the command kernel", async () => {
  const programs = await makeSandboxPrograms(python);
  const sandbox = new Supervised({
    programs,
    preload: ["numpy"],
  });
  afterAll(async () => {
    await sandbox[Symbol.asyncDispose]();
    programs.remove();
  });
  const bash = (code: string, options: Parameters<Supervised["run"]>[1] = {}) =>
    sandbox.run(code, { language: "bash", ...options });

  test("runs cells of the live kernel, whose variables stay", async () => {
    const first = await bash(`kernel 'x = 41'
kernel - one two <<'PY'
import sys
x += 1
print(x, sys.argv[1:])
x
PY`);
    expect(first).toMatchObject({ stdout: "42 ['one', 'two']\n42\n", stderr: "", reply: { exit_code: 0 } });
    expect((await sandbox.run("x")).stdout).toBe("42\n");
    await sandbox.run("y = 7");
    expect((await bash("kernel 'print(x + y)'")).stdout).toBe("49\n");
  });

  test("writes where the command writes, in order", async () => {
    const outcome =
      await bash(`echo a; kernel 'import os; print("b", flush=True); os.system("echo c")'; echo d
kernel 'print("piped")' | tr a-z A-Z > upper; cat upper
kernel 'import sys; print("e", file=sys.stderr)' 2> err; cat err`);
    expect(outcome).toMatchObject({ stdout: "a\nb\nc\n0\nd\nPIPED\ne\n", stderr: "" });
    expect((await sandbox.run("print('own pipes')")).stdout).toBe("own pipes\n");
  });

  test("ends as a call ends: code, traceback, figures", async () => {
    const outcome = await bash(`kernel 'import sys; sys.exit(3)'; echo $?
kernel '1 / 0'; echo $?`);
    expect(outcome.stdout).toBe("3\n1\n");
    expect(outcome.stderr).toMatch(
      /^Traceback .*\n.*<cell \d+>.*\n(.*\n)*ZeroDivisionError: division by zero\n$/,
    );
    const heard: string[] = [];
    const figure = await bash(
      "echo before; kernel 'import matplotlib.pyplot as plt; plt.plot([1]); plt.show()'; until [ -e go ]; do sleep 0.01; done; rm go",
      {
        displays: { max_files: 5, max_file_bytes: 100_000, max_total_bytes: 100_000 },
        onStream: (text) => heard.push(text),
        // The program ends when it has been shown.
        onDisplay(path) {
          heard.push(path);
          writeFileSync(join(sandbox.data, "go"), "");
        },
      },
    );
    expect(heard).toEqual(["before\n", "plot_1.png"]);
    expect([...figure.files.keys()]).toEqual(["plot_1.png"]);
  });

  test("says why not when the kernel is busy", async () => {
    const inside = await sandbox.run("import subprocess; subprocess.run(['kernel', '1']).returncode");
    expect(inside).toMatchObject({ stdout: "75\n", stderr: "kernel: It is running this call.\n" });
    const beside = await bash("kernel 'import time; time.sleep(0.5)' & sleep 0.2; kernel '1'; echo $?; wait");
    expect(beside).toMatchObject({ stdout: "75\n", stderr: "kernel: It runs another cell.\n" });
  });

  test("an interrupt is the cell's, and the end of the command ends the cell", async () => {
    const outcome = await bash(`kernel 'z = 5'
timeout -s INT 0.3 kernel 'import time; time.sleep(30)' 2> err; tail -n 1 err
timeout 0.3 kernel 'import time; time.sleep(30)'; echo $?; sleep 0.3
kernel 'print(z)'`);
    expect(outcome.stdout).toBe("KeyboardInterrupt\n124\n5\n");
  });

  test("a cell that goes on when its call is over does not hold the next call", async () => {
    const outcome = await bash("kernel 'import time; time.sleep(30)' & sleep 0.3");
    expect(outcome.reply.exit_code).toBe(0);
    expect((await sandbox.run("z")).stdout).toBe("5\n");
  });

  test("a kernel that dies is told, with the next call's variables gone", async () => {
    const outcome = await bash(
      "kernel 'import os; os._exit(4)'; echo $?; kernel 'print(\"z\" in globals())'",
    );
    expect(outcome).toMatchObject({
      stdout: "75\nFalse\n",
      stderr: "kernel: The kernel ended (exit code 4): variables are lost, files are kept.\n",
      reply: { kernel: "restarted" },
    });
    expect((await sandbox.run("1")).stderr).toBe("");
  });

  test("one that dies between calls is told to the first bash program with a cell, and to none without", async () => {
    await sandbox.run(
      "import os, threading\nthreading.Timer(0.05, lambda: os._exit(1)).start()\nvariable = 1",
    );
    const first = await bash("sleep 0.5; echo none");
    expect([first.stderr, first.reply.kernel]).toEqual(["", "kept"]);
    const next = await bash("kernel 'print(\"variable\" in globals())'");
    expect(next.stdout).toBe("False\n");
    expect(next.stderr).toContain("[sandbox] The kernel ended (exit code 1) after the previous call");
    expect(next.reply).toMatchObject({ kernel: "restarted", execution_count: 1 });
    const later = await bash("kernel 'print(1)'");
    expect([later.stderr, later.reply.kernel]).toEqual(["", "kept"]);
  });

  test("connections that speak otherwise are hung up on", async () => {
    for (const text of ["nonsense and more", "KYK1\xff\xff\xff\xff\xff\xff\xff\xff"]) {
      const socket = createConnection({ path: `\0${programs.kernelSocket}` });
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(Buffer.from(text, "latin1"));
      await once(socket, "close");
    }
    expect((await bash("kernel 'print(1)'")).stdout).toBe("1\n");
  });
});

describe("a shell that waits", async () => {
  const programs = await makeSandboxPrograms(python);
  const sandbox = new Supervised({ programs });
  afterAll(async () => {
    await sandbox[Symbol.asyncDispose]();
    programs.remove();
  });
  /** Everything that a shell knows of itself, but for what differs between any two, and what is only for its debugger. */
  const SELF = `echo "$# $- $SHLVL $SECONDS $_ \${BASH_ENV-unset} $LINENO $PWD"; env | sort; ulimit -a; umask
set | grep -vE '^(BASHPID|PPID|RANDOM|SRANDOM|EPOCH[A-Z]*|BASH_ARGV0|BASH_MONOSECONDS|BASH_ARGC|PIPESTATUS|_)='; echo /proc/$$/fd/*; trap`;
  const bash = (code: string, args: readonly string[] = []) => sandbox.run(code, { language: "bash", args });

  test("is the same as one that is started for its program", async () => {
    await sandbox.hello();
    const waited = await bash(SELF);
    // Its arguments are not known before: this one was started for it.
    const fresh = await bash(SELF, ["x"]);
    expect(waited.stdout).toContain("PATH=");
    const normal = (text: string) => text.replace(/\.kernelyard-\w+|\/proc\/\d+/g, "");
    expect(normal(waited.stdout)).toBe(normal(fresh.stdout).replace(/^1 /, "0 "));
    expect(waited.stderr).toBe("");
  });

  test("does not run what was not given to it", async () => {
    expect((await bash("kill -KILL $(pgrep -P $PPID -x bash | grep -v $$); echo ended")).stdout).toBe(
      "ended\n",
    );
    expect((await bash("rm -rf /tmp/.kernelyard-*/; echo removed")).stdout).toBe("removed\n");
    expect((await bash("echo again")).stdout).toBe("again\n");
  });

  test("draws other numbers each time", async () => {
    const numbers = [];
    for (let i = 0; i < 4; i += 1) numbers.push((await bash("echo $RANDOM $RANDOM")).stdout);
    expect(new Set(numbers).size).toBe(4);
  });
});
