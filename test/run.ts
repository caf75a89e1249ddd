/**
 * `npm test`: sets up what the tests need, runs everything, and ends with one line `N passed, N failed`.
 * Stages run one after another; a failing check does not hide the tests, a failing set-up stops them.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";

const ROOT = join(import.meta.dirname, "..");
const RESULTS = join(import.meta.dirname, "results");

interface Stage {
  readonly title: string;
  readonly command: readonly [string, ...string[]];
}

/** What the tests stand on. Each prints its own progress and is quick when there is nothing to do. */
const SETUP: readonly Stage[] = [
  { title: "host: engine, gVisor, seccomp profile", command: ["bash", "gateway/host/install.sh"] },
  { title: "sandbox image", command: ["node", "sandbox-image/tools/build.ts"] },
  { title: "Python environment", command: ["node", "sandbox-image/tools/venv.ts"] },
];

/** Static checks; each counts as one test. */
const CHECKS: readonly Stage[] = [
  { title: "format and lint", command: ["biome", "check", "."] },
  { title: "types", command: ["tsc", "--noEmit"] },
  { title: "Python: format, lint, types", command: ["node", "sandbox-image/tools/check-python.ts"] },
];

function run(stage: Stage): Promise<boolean> {
  const [program, ...args] = stage.command;
  const started = Date.now();
  process.stdout.write(`\n── ${stage.title}\n`);
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", (error) => {
      process.stdout.write(`${program}: ${error.message}\n`);
      resolve(false);
    });
    child.on("exit", (code) => {
      process.stdout.write(
        `── ${stage.title}: ${code === 0 ? "ok" : "FAILED"} (${Math.round((Date.now() - started) / 1000)} s)\n`,
      );
      resolve(code === 0);
    });
  });
}

const Report = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  numTodoTests: z.number(),
  numFailedTestSuites: z.number(),
  success: z.boolean(),
});

async function main(): Promise<number> {
  rmSync(RESULTS, { recursive: true, force: true });
  mkdirSync(RESULTS, { recursive: true });
  let passed = 0;
  let failed = 0;
  const finish = () => {
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
    return failed === 0 ? 0 : 1;
  };

  for (const stage of SETUP) {
    if (!(await run(stage))) {
      failed += 1;
      process.stdout.write(`\nThe tests cannot run without: ${stage.title}.\n`);
      return finish();
    }
  }
  for (const stage of CHECKS) {
    if (await run(stage)) passed += 1;
    else failed += 1;
  }

  const file = join(RESULTS, "vitest.json");
  const rings = process.argv.slice(2);
  const ok = await run({
    title: "tests",
    command: [
      "vitest",
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
      ...rings.flatMap((ring) => ["--project", ring]),
    ],
  });
  const report = Report.parse(JSON.parse(readFileSync(file, "utf8")));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  // A suite that could not load has no failed test of its own.
  if (!ok && report.numFailedTests === 0) failed += Math.max(1, report.numFailedTestSuites);
  const skipped = report.numPendingTests + report.numTodoTests;
  if (skipped > 0) {
    process.stdout.write(
      `${skipped} tests were skipped${process.env.CI === "true" ? "; in CI that is a failure" : ""}.\n`,
    );
    if (process.env.CI === "true") failed += skipped;
  }
  return finish();
}

process.exitCode = await main();
