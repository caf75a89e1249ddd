/**
 * IPython's and ipykernel's own tests of how cells are executed, from the registry's archives, against the kernel as a
 * plain process. `differences.json` has each that comes out otherwise, by the reason why; nothing else may.
 *
 * IPython's run in a cell of the kernel, on its shell. ipykernel's run beside it; the client they are given starts the
 * real supervisor (`ipykernel_conftest.py` says what it replaces and refuses).
 */
import { execFile } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "@hono/zod-openapi";
import { afterAll, expect, test } from "vitest";
import { python, Supervised } from "../supervised.ts";
import { packageSources } from "./sources.ts";

const HERE = import.meta.dirname;
const SUPERVISOR = join(HERE, "../../../sandbox-image/supervisor");
const LIMIT_MS = 400_000;
const IPYTHON = (
  "alias async_helpers autocall capture compilerop debug_magic display display_2 display_functions display_trap " +
  "displayhook error events exceptiongroup_tb extension formatters frame handlers help hooks inputtransformer2 " +
  "inputtransformer2_line interactiveshell iplib macro magic magic_arguments magics_code magics_pylab oinspect page " +
  "prefilter pretty pylabtools run storemagic timing ultratb zzz_autoreload"
).split(" ");
const IPYKERNEL = ["kernel", "async", "message_spec"];
const OPTIONS = [
  "-q",
  "--tb=short",
  "-p",
  "no:cacheprovider",
  "-p",
  "results_plugin",
  "--timeout=120",
  "-W",
  "ignore",
];

const Results = z.record(z.string(), z.enum(["passed", "failed", "skipped"]));
const Differences = z.record(z.string(), z.record(z.string(), z.array(z.string())));
const differences = Differences.parse(JSON.parse(readFileSync(join(HERE, "differences.json"), "utf8")));

const home = mkdtempSync(join(tmpdir(), "upstream-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const pathsOf = (names: readonly string[]): string[] => names.map((name) => `tests/test_${name}.py`);

/** The package's tests in a folder of their own, with our conftest in the place of theirs. */
async function prepare(name: string): Promise<string> {
  const folder = join(home, name);
  // Some of them leave temporary files behind.
  mkdirSync(join(folder, "tmp"), { recursive: true });
  cpSync(join(await packageSources(python, name), "tests"), join(folder, "tests"), { recursive: true });
  copyFileSync(join(HERE, `${name}_conftest.py`), join(folder, "tests/conftest.py"));
  copyFileSync(join(HERE, "results_plugin.py"), join(folder, "results_plugin.py"));
  return folder;
}

const knownDifferences = (name: string): string[] => Object.values(differences[name] ?? {}).flat();

/** Two runs of pytest: all but the known differences, which pass; and the known differences, which do not. */
function runs(name: string, files: readonly string[]): { args: string[]; expected: "passed" | "failed" }[] {
  const known = knownDifferences(name);
  return [
    { args: [...OPTIONS, ...known.map((id) => `--deselect=${id}`), ...files], expected: "passed" },
    { args: [...OPTIONS, ...known], expected: "failed" },
  ];
}

function expectAll(expected: "passed" | "failed", resultsPath: string, least: number, output: string): void {
  const results = Object.entries(Results.parse(JSON.parse(readFileSync(resultsPath, "utf8"))));
  const others = results.filter(([, result]) => result !== expected && result !== "skipped");
  expect(others, output).toEqual([]);
  expect(results.length).toBeGreaterThanOrEqual(least);
}

test("IPython's own tests in a cell of the kernel", { timeout: LIMIT_MS }, async () => {
  const folder = await prepare("ipython");
  const results = join(folder, "results.json");
  for (const { args, expected } of runs("ipython", pathsOf(IPYTHON))) {
    await using sandbox = new Supervised({
      preload: ["numpy", "matplotlib.pyplot"],
      env: { RESULTS: results, PYTHONPATH: folder, TMPDIR: join(folder, "tmp") },
    });
    const code = [
      "import os, sys",
      `os.chdir(${JSON.stringify(folder)})`,
      "sys.path.insert(0, '.')",
      "import pytest",
      `pytest.main(${JSON.stringify(["-o", "asyncio_mode=strict", ...args])});`,
    ].join("\n");
    const outcome = await sandbox.run(code, {
      timeoutMs: LIMIT_MS,
      stdoutLimit: 4_000_000,
      collect: false,
    });
    const least = expected === "passed" ? 800 : knownDifferences("ipython").length;
    expectAll(expected, results, least, outcome.stdout.slice(-20_000) + outcome.stderr.slice(-5000));
  }
});

test("ipykernel's own tests of execution", { timeout: LIMIT_MS }, async () => {
  const folder = await prepare("ipykernel");
  const results = join(folder, "results.json");
  // What IPython's first start leaves in the home of whoever has it.
  const ipython = join(folder, "ipython");
  mkdirSync(join(ipython, "profile_default"), { recursive: true });
  for (const { args, expected } of runs("ipykernel", pathsOf(IPYKERNEL))) {
    const output = await promisify(execFile)(python, ["-m", "pytest", ...args], {
      cwd: folder,
      timeout: LIMIT_MS,
      maxBuffer: 16 << 20,
      env: {
        ...process.env,
        RESULTS: results,
        PYTHONPATH: folder,
        TMPDIR: join(folder, "tmp"),
        KERNELYARD_SUPERVISOR: SUPERVISOR,
        IPYTHONDIR: ipython,
      },
      // pytest ends with 1 when a test fails.
    }).catch((error: { stdout?: string; stderr?: string }) => error);
    const least = expected === "passed" ? 17 : knownDifferences("ipykernel").length;
    expectAll(expected, results, least, `${output.stdout?.slice(-20_000)}\n${output.stderr}`);
  }
});
