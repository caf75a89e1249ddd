import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { Supervised } from "./supervised.ts";

const MIB = 1024 * 1024;

describe("files into and out of the data directory", () => {
  const sandbox = new Supervised();
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = sandbox.run.bind(sandbox);
  const write = sandbox.write.bind(sandbox);

  test("directories are made, names are exact and NFC, empty files work, modes follow read_only", async () => {
    expect(await write("a/b/日本 語.txt", "text")).toEqual({ status: "ok" });
    expect(await write("empty", "")).toEqual({ status: "ok" });
    expect(await write("de\u0301composed.txt", "nfc")).toEqual({ status: "ok" });
    expect(await write("skill/read.md", "r", { readOnly: true })).toEqual({ status: "ok" });
    expect(readFileSync(join(sandbox.data, "a/b/日本 語.txt"), "utf8")).toBe("text");
    expect(readdirSync(sandbox.data)).toContain("d\u00e9composed.txt");
    expect(statSync(join(sandbox.data, "empty")).size).toBe(0);
    expect(statSync(join(sandbox.data, "skill/read.md")).mode & 0o777).toBe(0o444);
    expect(await write("skill/read.md", "again", { size: null })).toEqual({ status: "ok" });
    expect(readFileSync(join(sandbox.data, "skill/read.md"), "utf8")).toBe("again");
  });

  test.each([
    ["../out", "plain relative path"],
    ["/etc/passwd", "plain relative path"],
    ["a//b", "plain relative path"],
    ["a/./b", "plain relative path"],
    ["nul\0", "plain relative path"],
    ["a", "is a directory"],
    ["empty/below", "is not a directory"],
    ["x".repeat(256), "255 bytes"],
  ])("%j is refused", async (path, reason) => {
    const reply = await write(path, "x");
    expect(reply.status).toBe("error");
    expect(reply.message).toContain(reason);
  });

  test("links are not followed", async () => {
    symlinkSync("/tmp", join(sandbox.data, "link"));
    expect((await write("link/escaped.txt", "x")).status).toBe("error");
    symlinkSync("/etc/hostname", join(sandbox.data, "host"));
    expect((await write("host", "replaced")).status).toBe("ok");
    expect(readFileSync(join(sandbox.data, "host"), "utf8")).toBe("replaced");
  });

  test("an input whose place is taken is left out: the code runs, is told, and can make room", async () => {
    await run(
      "import os\nos.makedirs('report/parts'); open('report/parts/1.txt', 'w').write('x'); open('flat', 'w').close()",
    );
    const inputs = ["report", "flat/below.csv", "fine.csv"];
    const place = async () => {
      const replies = [];
      for (const path of inputs) replies.push(await write(path, "input"));
      return replies;
    };
    expect(await place()).toEqual([
      { status: "error", message: "report is a directory", left_out: "taken" },
      { status: "error", message: "flat is not a directory", left_out: "taken" },
      { status: "ok" },
    ]);
    for (const language of ["py", "bash"]) {
      await place();
      const told = await run(language === "py" ? "print('alive')" : "echo alive", {
        language,
        collect: { inputs },
      });
      expect(told.stdout).toBe("alive\n");
      expect(told.stderr).toBe(
        "[sandbox] The file report was not put in place: report is a directory.\n[sandbox] The file flat/below.csv was not put in place: flat is not a directory.\n",
      );
      expect(told.reply.inputs).toMatchObject({ modified: [], deleted: [] });
      expect(told.reply.inputs?.unchanged.toSorted()).toEqual(inputs.toSorted());
    }
    expect(readFileSync(join(sandbox.data, "report/parts/1.txt"), "utf8")).toBe("x");
    const quiet = await run("import shutil; shutil.rmtree('report'); os.remove('flat')");
    expect(quiet.stderr).toBe("");
    expect(await place()).toEqual([{ status: "ok" }, { status: "ok" }, { status: "ok" }]);
    const clear = await run("print(open('report').read(), open('flat/below.csv').read())", {
      collect: { inputs },
    });
    expect(clear).toMatchObject({ stdout: "input input\n", stderr: "" });
    await run("shutil.rmtree('flat'); os.remove('report'); os.remove('fine.csv')");
  });

  test("a data directory that code made unusable can be used again in the next call", async () => {
    for (const mode of ["0", "555", "311"]) {
      for (const [code, language] of [
        [`import os; os.chmod('.', 0o${mode})`, "py"],
        [`chmod ${mode} .`, "bash"],
      ] as const) {
        await run(code, { language });
        // Root in this test may do as it likes; that the owner has all rights again is what counts.
        expect(statSync(sandbox.data).mode & 0o700).toBe(0o700);
        const next = await run("open('usable.txt', 'w').write('x')", { script: true });
        expect([...next.files.keys()]).toEqual(["usable.txt"]);
        await run("import os; os.remove('usable.txt')");
      }
    }
    await run(
      "import os, subprocess; subprocess.Popen('sleep 0.2; chmod 0 .; touch /tmp/.closed', shell=True)",
    );
    await run("until [ -e /tmp/.closed ]; do sleep 0.05; done; rm /tmp/.closed", {
      language: "bash",
      collect: false,
    });
    expect(await write("arrives.txt", "x")).toEqual({ status: "ok" });
    expect(statSync(sandbox.data).mode & 0o700).toBe(0o700);
    await run("os.remove('arrives.txt')");
  });

  test("a source that fails, or another length than announced, leaves nothing", async () => {
    expect(await write("half", "half of it", { abort: true })).toMatchObject({ status: "error" });
    expect(await write("short", "abc", { size: 4 })).toMatchObject({ status: "error" });
    expect(await write("long", "abcde", { size: 4 })).toMatchObject({ status: "error" });
    const names = execFileSync("find", [sandbox.data, "-type", "f"], { encoding: "utf8" });
    expect(names).not.toMatch(/half|short|long|\.part/);
  });

  test("inputs are reported as unchanged, modified or deleted; new files as created", async () => {
    const inputs = [
      "in/same.csv",
      "in/touched.csv",
      "in/changed.csv",
      "in/gone.csv",
      "in/rewritten.csv",
      "in/readonly.md",
      ".hidden/input",
    ];
    for (const path of inputs) await write(path, "1234", { readOnly: path.endsWith(".md") });
    const code = [
      "import os, shutil",
      "os.utime('in/touched.csv', (1, 1)); os.chmod('in/touched.csv', 0o600)",
      "open('in/changed.csv', 'w').write('5678')",
      "os.remove('in/gone.csv')",
      "open('in/rewritten.csv.new', 'w').write('1234'); os.rename('in/rewritten.csv.new', 'in/rewritten.csv')",
      "os.chmod('in/readonly.md', 0o644); open('in/readonly.md', 'w').write('overwritten')",
      "os.makedirs('out/__pycache__'); open('out/new.bin', 'wb').write(bytes(range(256)))",
      "open('out/__pycache__/x.pyc', 'w').write('x'); open('.secret', 'w').write('x'); os.mkdir('.dir'); open('.dir/x', 'w').write('x')",
      "open('.hidden/other', 'w').write('x')",
      "open('out/empty', 'w').close()",
      "raise SystemExit(1)",
    ].join("\n");
    const { reply, files } = await run(code, { collect: { inputs } });
    expect(reply.inputs?.unchanged.toSorted()).toEqual(
      ["in/same.csv", "in/touched.csv", "in/rewritten.csv", "in/readonly.md", ".hidden/input"].toSorted(),
    );
    expect(reply.inputs).toMatchObject({ modified: ["in/changed.csv"], deleted: ["in/gone.csv"] });
    expect(reply.exit_code).toBe(1);
    expect([...files.keys()].sort()).toEqual([".hidden/other", "in/changed.csv", "out/empty", "out/new.bin"]);
    expect(files.get("in/changed.csv")).toMatchObject({ change: "modified" });
    expect(files.get("out/new.bin")).toMatchObject({
      change: "created",
      bytes: Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    });
    const again = await run("open('out/new.bin', 'ab').write(b'x');", {
      collect: { inputs: ["in/same.csv"] },
    });
    expect([...again.files]).toMatchObject([["out/new.bin", { change: "modified" }]]);
    expect((await run("pass")).files.size).toBe(0);
  });

  test("bash programs and runs that time out are collected too; nothing is collected unasked", async () => {
    const late = await run("open('late.txt', 'w').write('x')\nwhile True: pass", { timeoutMs: 1000 });
    expect([...late.files.keys()]).toEqual(["late.txt"]);
    expect([...(await run("echo x > sh.txt", { language: "bash" })).files.keys()]).toEqual(["sh.txt"]);
    const silent = await run("open('silent.txt', 'w').write('x')", { collect: false });
    expect(silent.files.size).toBe(0);
    expect(silent.reply.inputs).toBeUndefined();
    await run("import os; os.remove('silent.txt')");
  });

  test("a hostile tree is bounded and told about", async () => {
    const code = [
      "import os, socket",
      "os.mkfifo('fifo'); os.symlink('/etc/passwd', 'passwd'); os.symlink('.', 'loop')",
      "s = socket.socket(socket.AF_UNIX); s.bind('socket'); s.close()",
      "open(b'not-utf8-\\xff', 'w').close()",
      "os.makedirs('d/' * 12); open('d/' * 12 + 'deep', 'w').close(); os.makedirs('e/' * 300)",
      "open('big', 'wb').truncate(3_000_000)",
      "open('n' * 100, 'w').close()",
      "open('e\\u0301', 'w').write('nfd'); open('\\u00e9', 'w').write('nfc')",
    ].join("\n");
    const { reply, files } = await run(code, { collect: { max_file_bytes: 1_000_000, max_path_bytes: 90 } });
    const reasons = new Map(reply.skipped?.map(({ path, reason }) => [path, reason]));
    expect(reasons.get("fifo")).toContain("FIFO");
    expect(reasons.get("passwd")).toContain("symbolic link");
    expect(reasons.get("socket")).toContain("socket");
    expect(reasons.get("not-utf8-\\xff")).toContain("not UTF-8");
    expect(reasons.get(`${"d/".repeat(12)}deep`)).toContain("deeper than 10");
    expect(reasons.get("big")).toContain("larger than 1000000");
    expect(reasons.get("n".repeat(100))).toContain("longer than 90 bytes");
    expect([...files.keys()]).toEqual(["\u00e9"]);
    // Links, pipes and sockets are files that nobody waits for; of a tree without files only its bottomless part is.
    expect(reply.lost).toEqual({ size: 1, depth: 2, path: 3 });
    const again = await run("pass");
    expect(again.reply.skipped).toEqual([]);
    expect(again.reply.lost).toEqual({});
  });

  test("more files than allowed: the first made, and the rest is named", async () => {
    const code = "for i in range(8): open(f'many{i}', 'w').write('x' * 10)";
    const { files, reply } = await run(code, { collect: { max_files: 5, max_total_bytes: 35 } });
    expect(files.size).toBe(3);
    expect(reply.skipped?.length).toBe(5);
    expect(reply.lost).toEqual({ size: 5 });
    const crowd = await run(
      "import os\nos.mkdir('crowd')\nfor i in range(3000): open(f'crowd/{i}', 'w').close()",
    );
    expect(crowd.files.size).toBe(50);
    expect(crowd.reply.skipped?.length).toBe(256);
    expect(crowd.reply.lost).toEqual({ max_files: 2950 });
    const long = "for i in range(12000): open(f'crowd/{i:0100}', 'w').close()";
    const names = await run(long, { collect: { max_path_bytes: 90 } });
    expect(names.reply.lost).toEqual({ path: 12_000 });
    expect((await run("import shutil; shutil.rmtree('crowd')")).reply.lost).toEqual({});
  });

  test("large files keep their bytes both ways, with the reader slower than the sandbox", async () => {
    const SIZE = 40 * MIB;
    const bytes = randomBytes(SIZE);
    expect(await write("large.bin", bytes)).toEqual({ status: "ok" });
    const id = sandbox.begin("import shutil; shutil.copy('large.bin', 'copy.bin');", {
      collect: { inputs: ["large.bin"] },
    });
    sandbox.process.stdout.pause();
    const copy = join(sandbox.data, "copy.bin");
    const pid = sandbox.process.pid ?? 0;
    const before = rss(pid);
    await expect.poll(() => existsSync(copy) && statSync(copy).size).toBe(SIZE);
    await untilQuiet(pid);
    // What waits for the reader is a part of the file that does not grow with it.
    expect(rss(pid) - before).toBeLessThan(SIZE / 4);
    sandbox.process.stdout.resume();
    const { files } = await sandbox.finish(id);
    expect(files.get("copy.bin")?.bytes.equals(bytes)).toBe(true);
  });

  test("files of an earlier process are nobody's output", async () => {
    await using other = new Supervised({ files: { "old.txt": "from before" } });
    await other.hello();
    writeFileSync(join(other.data, "young.txt"), "x");
    expect([...(await other.run("pass")).files.keys()]).toEqual(["young.txt"]);
    expect([...(await other.run("open('old.txt', 'a').write('x');")).files.keys()]).toEqual(["old.txt"]);
  });

  test("any name a client may choose comes back as it went in", async () => {
    const segment = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
      .map((text) => text.normalize("NFC"))
      .filter((text) => !/[/\0]/.test(text) && text !== "." && text !== ".." && text.isWellFormed());
    const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(path, { minLength: 1, maxLength: 4 }), async (paths) => {
        const written: string[] = [];
        for (const one of paths) if ((await write(`p/${one}`, one)).status === "ok") written.push(`p/${one}`);
        const { reply } = await run("pass", { collect: { inputs: written, max_path_bytes: 4096 } });
        const lost = written.some((one, i) => written.some((two, j) => i !== j && two.startsWith(`${one}/`)));
        if (!lost) expect(reply.inputs?.deleted).toEqual([]);
        expect(reply.inputs?.modified).toEqual([]);
        await run("import shutil; shutil.rmtree('p', ignore_errors=True)");
      }),
      { numRuns: 60, interruptAfterTimeLimit: 15_000 },
    );
  });
});

/** Resolves when the process waits for something and has not computed for a while. */
async function untilQuiet(pid: number): Promise<void> {
  let last = "";
  for (let quiet = 0; quiet < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const [state, used] = [fields[0], `${fields[11]} ${fields[12]}`];
    quiet = state === "S" && used === last ? quiet + 1 : 0;
    last = used;
  }
}

function rss(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
}
