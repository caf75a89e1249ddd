/** Pip takes packages from the operator's mirror of wheels, and they are there as people expect. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeWheels } from "../support/wheels.ts";
import { makeSandboxPrograms, type SandboxPrograms } from "./sandbox-programs.ts";
import { python, Supervised } from "./supervised.ts";

const folder = mkdtempSync(join(tmpdir(), "mirror-"));
let programs: SandboxPrograms;

beforeAll(async () => {
  writeWheels(folder, [
    { name: "yard_leaf", version: "1.1", module: "value = 11" },
    { name: "yard_leaf", version: "1.2", module: "value = 12" },
    {
      name: "yard_tree",
      version: "2.0",
      module:
        "import numpy, yard_leaf\nvalue = yard_leaf.value + numpy.int64(2)\ndef main(): print('tree', value)",
      requires: ["yard-leaf>=1", "numpy"],
      scripts: ["yard-tree = yard_tree:main"],
    },
    { name: "numpy", version: "99.0", module: "value = 'from the mirror'" },
    { name: "json", version: "1.0", module: "value = 'from the mirror'" },
    { name: "yard_orphan", version: "1.0", module: "", requires: ["nothing-of-this-name"] },
  ]);
  const numpy = readdirSync(join(python, "../../lib/python3.11/site-packages")).flatMap(
    (name) => /^numpy-(.+)\.dist-info$/.exec(name)?.[1] ?? [],
  );
  programs = await makeSandboxPrograms(python, { folder, constraints: `numpy==${numpy[0]}\n` });
});
afterAll(() => {
  programs.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** A pip that is not the sandbox's refuses to work. */
const supervised = () =>
  new Supervised({
    programs,
    preload: ["pandas"],
    env: { PATH: `${programs.bin}:/usr/bin:/bin`, PIP_REQUIRE_VIRTUALENV: "1" },
  });
const lastLine = (text: string) => text.trimEnd().split("\n").at(-1);

describe("pip with a mirror of wheels", () => {
  test.each([
    ["a magic of a cell", "%pip install -q yard-tree\nimport yard_tree; print(yard_tree.value)", "py"],
    ["a shell line of a cell", "!pip install -q yard-tree\nimport yard_tree; print(yard_tree.value)", "py"],
    [
      "the module in a child of a cell",
      "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--user', 'yard_tree'], check=True)\nimport yard_tree; print(yard_tree.value)",
      "py",
    ],
    ["bash", "pip install -q yard-tree && python3 -c 'import yard_tree; print(yard_tree.value)'", "bash"],
    [
      "bash, by the module",
      "python3 -m pip install -q yard-tree && KERNELYARD_PYTHON=plain python3 -c 'import yard_tree; print(yard_tree.value)'",
      "bash",
    ],
    ["bash, with its command", "pip install -q yard-tree && yard-tree", "bash"],
  ])("adds by %s, with what it needs and what the image has", async (_how, code, language) => {
    await using sandbox = supervised();
    const outcome = await sandbox.run(code, { language });
    expect(outcome.stderr).toBe("");
    expect(
      outcome.stdout.replace("Note: you may need to restart the kernel to use updated packages.\n", ""),
    ).toMatch(/^(tree )?14\n$/);
    // A library is no output.
    expect([...outcome.files.keys()]).toEqual([]);
    // There for all that comes later: cells, forked and plain programs.
    const later = "import yard_tree; print(yard_tree.value)";
    expect(await sandbox.run(later)).toMatchObject({ stdout: "14\n", stderr: "" });
    expect(await sandbox.run(`python3 -c '${later}'`, { language: "bash" })).toMatchObject({
      stdout: "14\n",
    });
  });

  test("adds for a fresh call, which is a program", async () => {
    await using sandbox = supervised();
    const code =
      "import os\nassert os.system('pip install -q yard_leaf') == 0\nimport yard_leaf; print(yard_leaf.value)";
    expect(await sandbox.run(code, { script: true })).toMatchObject({ stdout: "12\n", stderr: "" });
  });

  test("changes a package that it added, and never what the image or Python has", async () => {
    await using sandbox = supervised();
    const bash = (code: string) => sandbox.run(code, { language: "bash" });
    await bash("pip install -q yard_leaf==1.1 && pip install -q -U yard_leaf");
    expect(
      (await bash("python3 -c 'import yard_leaf; print(yard_leaf.value)'; ls -d .venv/lib/*/*/*.dist-info"))
        .stdout,
    ).toMatch(/^12\n\S*yard_leaf-1\.2\.dist-info\n$/);
    expect(
      (await bash("pip freeze | grep -i yard; pip uninstall -q -y yard_leaf; pip freeze | grep -ci yard"))
        .stdout,
    ).toBe("yard_leaf==1.2\n0\n");
    expect((await bash("pip install -q -U numpy")).reply.exit_code).toBe(0);
    const other = await bash("pip install -q numpy==99.0");
    expect(other.reply.exit_code).toBe(1);
    expect(lastLine(other.stderr)).toMatch(
      /^\[sandbox\] numpy is in this image as \d\S+, and stays as it is$/,
    );
    await bash("pip install -q json");
    const shadow = "import json, numpy; print(hasattr(json, 'loads'), numpy.__version__ != '99.0')";
    for (const how of ["explain", "plain"])
      expect((await bash(`KERNELYARD_PYTHON=${how} python3 -c "${shadow}"`)).stdout).toBe("True True\n");
    expect((await sandbox.run(shadow)).stdout).toBe("True True\n");
  });

  test("refuses what is not in it in one line that says what to do", async () => {
    await using sandbox = supervised();
    const said = async (words: string) =>
      lastLine((await sandbox.run(`pip install -q ${words}`, { language: "bash" })).stderr);
    expect(await said("nothing-of-this-name")).toBe(
      "[sandbox] nothing-of-this-name is not among the packages that can be installed here; the service's operator can add it",
    );
    expect(await said("openpyxl")).toBe("[sandbox] openpyxl is not in this image; profile analyst has it");
    expect(await said("'yard-leaf>=3'")).toBe("[sandbox] yard-leaf can be installed here as 1.1, 1.2");
    // Pip's own words, which name what is missing.
    expect(await said("yard-orphan")).toContain("nothing-of-this-name");
    expect(await said("--index-url https://index.invalid/simple requests-of-no-mirror")).toContain(
      "operator can add it",
    );
  });

  test("is named to code that imports what it has", async () => {
    await using sandbox = supervised();
    const line =
      "[sandbox] yard_leaf is not in this image; `pip install yard-leaf` adds it, for this call or session";
    expect(lastLine((await sandbox.run("import yard_leaf")).stderr)).toBe(line);
    expect(lastLine((await sandbox.run("python3 -c 'import yard_leaf'", { language: "bash" })).stderr)).toBe(
      line,
    );
  });

  test("is as out of sight for isolated programs as a user's own place, forked and plain", async () => {
    await using sandbox = supervised();
    const paths = "import sys; print([path for path in sys.path if '.venv' in path])";
    for (const how of ["explain", "plain"]) {
      const shown = async (option: string) =>
        (await sandbox.run(`KERNELYARD_PYTHON=${how} python3 ${option} -c "${paths}"`, { language: "bash" }))
          .stdout;
      expect([await shown("-I"), await shown("-s")]).toEqual(["[]\n", "[]\n"]);
      expect(await shown("-E")).toContain(".venv/lib/python3.11/site-packages");
    }
  });

  test("begins again where the environment was removed, and says so where it cannot be made", async () => {
    await using sandbox = supervised();
    const code =
      "rm -rf .venv; pip install -q yard_leaf; python3 -c 'import yard_leaf; print(yard_leaf.value)'";
    expect(await sandbox.run(code, { language: "bash" })).toMatchObject({ stdout: "12\n", stderr: "" });
    const broken = await sandbox.run("rm -rf .venv; touch .venv; pip install -q yard_leaf", {
      language: "bash",
    });
    expect(broken.reply.exit_code).toBe(1);
    expect(broken.stderr).toMatch(/^\[sandbox\] pip cannot write to \S+\.venv\n$/);
  });
});

test("without a mirror nothing of it is there", async () => {
  const plain = await makeSandboxPrograms(python);
  try {
    await using sandbox = new Supervised({ programs: plain });
    const { stdout } = await sandbox.run(
      "env | grep -E 'PIP_|venv'; python3 -c 'import sys; print(sys.path)'",
      {
        language: "bash",
      },
    );
    expect(stdout).not.toMatch(/PIP_NO_INDEX|PIP_FIND_LINKS|venv\/(bin|lib)/);
    expect(existsSync(join(sandbox.data, ".venv"))).toBe(false);
  } finally {
    plain.remove();
  }
});
