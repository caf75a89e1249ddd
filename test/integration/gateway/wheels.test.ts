/** Pip in real sandboxes, from a mirror that `npm run wheels` has filled with real packages. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readMirror } from "../../../gateway/common/wheels.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const home = mkdtempSync(join(tmpdir(), "wheels-test-"));
const mirror = join(home, "mirror");
let stack: Stack;

beforeAll(async () => {
  const list = join(home, "allowed.txt");
  // slugify needs another package; humanize none; seaborn what the image has.
  writeFileSync(list, "humanize\npython-slugify\nseaborn\n");
  execFileSync(process.execPath, ["sandbox-image/tools/wheels/fill.ts", list, mirror], {
    cwd: join(import.meta.dirname, "../../.."),
  });
  stack = await startStack({ checkpoints: "ready", env: { KERNELYARD_WHEELS: mirror } });
});
afterAll(async () => {
  await stack?.stop();
  rmSync(home, { recursive: true, force: true });
});

const Outcome = z.looseObject({ stdout: z.string(), stderr: z.string() });
const run = async (code: string, session = "wheels") =>
  Outcome.parse(await (await stack.post("/run", { session_id: session, code })).json());
const exec = async (lang: string, code: string) => (await stack.post("/v1/exec", { lang, code })).json();

describe("a mirror of wheels", () => {
  it("has what the list names and what that needs, and nothing that the image has", () => {
    const names = readFileSync(join(mirror, "SHA256SUMS"), "utf8").match(/(?<= {2})[a-z_]+/g);
    expect(names).toEqual(
      expect.arrayContaining(["humanize", "python_slugify", "seaborn", "text_unidecode"]),
    );
    expect(names).not.toContain("numpy");
    execFileSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: mirror });
    expect(stack.launcher.lines.join("\n")).toContain(readMirror(mirror).digest);
  });

  it("serves a session: the cell, later cells, every python3, and the next sandbox", async () => {
    expect(
      await run("%pip install -q humanize\nimport humanize; print(humanize.intcomma(12345))"),
    ).toMatchObject({
      stdout: expect.stringContaining("12,345\n"),
      stderr: "",
    });
    expect(await run("print(humanize.intword(2_000_000))")).toMatchObject({ stdout: "2.0 million\n" });
    const program = "import humanize; print(humanize.ordinal(3))";
    const shell = `import os; _ = os.system("python3 -c '${program}'; KERNELYARD_PYTHON=plain python3 -c '${program}'")`;
    expect(await run(shell)).toMatchObject({ stdout: "3rd\n3rd\n", stderr: "" });
    // The sandbox ends; the session's files do not.
    await stack.post("/run", { session_id: "wheels", code: "import os, signal; os.kill(1, signal.SIGKILL)" });
    expect(await run(program)).toMatchObject({ stdout: "3rd\n" });
  });

  it("serves a call without a session, in bash and in Python, and is no output", async () => {
    const slug = "from slugify import slugify; print(slugify('Yard ÄÖ 1'))";
    expect(await exec("bash", `pip install -q python-slugify && python3 -c "${slug}"`)).toMatchObject({
      stdout: "yard-ao-1\n",
      stderr: "",
      files: [],
    });
    const code = `import subprocess, sys\nsubprocess.run([sys.executable, "-m", "pip", "install", "-q", "seaborn"], check=True)\nimport seaborn; print(len(seaborn.color_palette()))`;
    expect(await exec("py", code)).toMatchObject({ stdout: "10\n", stderr: "", files: [] });
  });

  it("refuses what it lacks in one line, and names itself to who misses what it has", async () => {
    expect(await exec("bash", "pip install -q flask")).toMatchObject({
      stderr: expect.stringContaining(
        "[sandbox] flask is not among the packages that can be installed here; the service's operator can add it\n",
      ),
    });
    expect(await exec("py", "import humanize")).toMatchObject({
      stderr: expect.stringContaining(
        "[sandbox] humanize is not in this image; `pip install humanize` adds it, for this call or session\n",
      ),
    });
  });

  it("is bounded by the session's own disk", async () => {
    const filled =
      "open('big', 'wb').truncate(0)\nimport os\nos.system('fallocate -l 2G big; pip install -q seaborn; echo $?')";
    const { stdout, stderr } = await run(filled, "full");
    expect(`${stdout}${stderr}`).toMatch(/No space left on device|cannot write/);
  });
});
