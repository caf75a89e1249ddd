/** Who misses a library is told once, in a plain line, which profile of the image has it. */
import { afterAll, describe, expect, test } from "vitest";
import { makeSandboxPrograms } from "./sandbox-programs.ts";
import { python, Supervised } from "./supervised.ts";

const LINE = (name: string, profile: string) =>
  `[sandbox] ${name} is not in this image; profile ${profile} has it\n`;
const count = (text: string) => text.split("[sandbox]").length - 1;

describe("a library that another profile has", async () => {
  const programs = await makeSandboxPrograms(python);
  const sandbox = new Supervised({ programs, preload: ["pandas"] });
  afterAll(async () => {
    await sandbox[Symbol.asyncDispose]();
    programs.remove();
  });
  const bash = (code: string) => sandbox.run(code, { language: "bash" });

  test.each([
    ["a cell of a session", {}],
    ["a fresh call", { script: true }],
  ])("is named after the error of %s", async (_what, options) => {
    const outcome = await sandbox.run("import openpyxl", options);
    expect(outcome.stderr).toMatch(/^Traceback[\s\S]*ModuleNotFoundError: No module named 'openpyxl'\n/);
    expect(outcome.stderr.endsWith(LINE("openpyxl", "analyst"))).toBe(true);
    expect(outcome.reply.exit_code).toBe(1);
  });

  test("is named when another library misses it, and by what code calls it", async () => {
    const excel = await sandbox.run("import pandas as pd\npd.DataFrame({'a': [1]}).to_excel('a.xlsx')");
    expect(excel.stderr.endsWith(LINE("openpyxl", "analyst"))).toBe(true);
    expect(count(excel.stderr)).toBe(1);
    const word = await sandbox.run("from docx.shared import Pt");
    expect(word.stderr.endsWith(LINE("docx", "documents"))).toBe(true);
  });

  test("is named in python3 of a bash program, forked and plain", async () => {
    for (const how of ["explain", "plain"]) {
      const outcome = await bash(`KERNELYARD_PYTHON=${how} python3 -c 'import cv2'`);
      expect([how, outcome.stderr.split("\n").slice(-3).join("\n")]).toEqual([
        how,
        `ModuleNotFoundError: No module named 'cv2'\n${LINE("cv2", "analyst")}`,
      ]);
    }
  });

  test("is not mentioned to code that can do without it, has its own hook, or misses something else", async () => {
    const without = "try:\n    import openpyxl\nexcept ImportError:\n    print('without')";
    for (const options of [{}, { script: true }])
      expect(await sandbox.run(without, options)).toMatchObject({ stdout: "without\n", stderr: "" });
    expect(await bash(`python3 -c "${without}"`)).toMatchObject({ stdout: "without\n", stderr: "" });
    const later = await bash(`python3 -c "${without}\nraise ValueError(1)"`);
    expect(count(later.stderr)).toBe(0);
    expect((await sandbox.run("import nothing_of_this_name")).stderr).not.toContain("[sandbox]");
    expect((await bash("python3 -c 'import nothing_of_this_name'")).stderr).not.toContain("[sandbox]");
    const hook = "import sys; sys.excepthook = lambda *a: print('mine'); import openpyxl";
    expect(await bash(`python3 -c "${hook}"`)).toMatchObject({ stdout: "mine\n", stderr: "" });
    // A file of the program's own is no library.
    await sandbox.write("docx.py", "import nothing_of_this_name");
    expect((await bash("python3 -c 'import docx'")).stderr).not.toContain("[sandbox]");
    await bash("rm docx.py");
  });

  test("is named after a pip install that failed, and after nothing else of pip's", async () => {
    // Sandboxes have no network; this machine may have one.
    const pip = (args: string) => bash(`PIP_NO_INDEX=1 PIP_FIND_LINKS= python3 -m pip ${args}`);
    const line = (stderr: string) => stderr.trimEnd().split("\n").at(-1);
    expect(line((await pip("install -q 'openpyxl>=3'")).stderr)).toBe(LINE("openpyxl", "analyst").trim());
    expect(line((await pip("install --upgrade opencv-python")).stderr)).toBe(
      LINE("opencv-python", "analyst").trim(),
    );
    expect(line((await pip("install -q Python_DOCX nothing-of-this-name")).stderr)).toBe(
      "[sandbox] Python_DOCX is not in this image; profile documents has it. nothing-of-this-name is in no profile of this service, and pip has no network here",
    );
    for (const args of ["install -q pandas", "download -q openpyxl", "--version"])
      expect((await pip(args)).stderr).not.toContain("[sandbox]");
  });

  test("leaves a program that misses nothing its own hook", async () => {
    const outcome = await bash(
      "python3 -c 'import sys, pandas; print(sys.excepthook is sys.__excepthook__)'",
    );
    expect(outcome.stdout).toBe("True\n");
  });
});
