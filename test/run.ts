/**
 * `npm test`: sets up what the tests need, checks and runs everything, and ends with one line `N passed, N failed`.
 * `npm test -- unit protocol`, `npm test -- test/unit/x.test.ts`, `npm test -- unit -t "name"`: only what these need, and
 * only these. A failing check does not hide the tests, a failing set-up stops them.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { CHECKS, runChecks } from "./check.ts";
import { needsOf, type Request, readRequest, WrongUse } from "./runner/request.ts";
import { type Count, count, RESULTS_FILE, Results, timeTable } from "./runner/results.ts";
import { setUp } from "./runner/set-up.ts";
import { runStage } from "./runner/stage.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

async function runTests({ rings, files, options }: Request): Promise<Count> {
  rmSync(RESULTS_FILE, { force: true });
  const started = Date.now();
  const ok = await runStage({
    title: "tests",
    command: [
      ...(["vitest", "run", "--reporter=default", "--reporter=./test/runner/results-reporter.ts"] as const),
      ...rings.map((ring) => `--project=${ring}`),
      ...files,
      ...options,
    ],
  });
  if (!existsSync(RESULTS_FILE)) return { passed: 0, failed: 1, skipped: 0 };
  const results = Results.parse(JSON.parse(readFileSync(RESULTS_FILE, "utf8")));
  const table = timeTable(results, (Date.now() - started) / 1000);
  if (table.length > 0) say(`\n${table.join("\n")}`);
  const counted = count(results);
  return ok ? counted : { ...counted, failed: Math.max(1, counted.failed) };
}

async function main(words: readonly string[]): Promise<number> {
  const request = readRequest(words, process.env.INIT_CWD ?? process.cwd());
  const missing = await setUp(needsOf(request.rings));
  if (missing.length > 0) {
    say(`\nThe tests cannot run without: ${missing.join(", ")}.\n\n0 passed, ${missing.length} failed`);
    return 1;
  }
  // Each check counts as one test.
  const failedChecks = request.whole ? await runChecks() : [];
  const tests = await runTests(request);
  const passed = tests.passed + (request.whole ? CHECKS.length - failedChecks.length : 0);
  let failed = tests.failed + failedChecks.length;
  // A name leaves out every other test; without one, nothing may be skipped in CI.
  const chosen = request.options.length > 0;
  if (tests.skipped > 0 && !chosen) {
    const inCi = process.env.CI === "true";
    say(`${tests.skipped} tests were skipped${inCi ? "; in CI that is a failure" : ""}.`);
    if (inCi) failed += tests.skipped;
  }
  if (passed + failed === 0) {
    say("No test has this name.");
    failed = 1;
  }
  say(`\n${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof WrongUse)) throw error;
  say(error.message);
  process.exitCode = 2;
}
