/** A reporter of Vitest that writes `results.ts`' file: the built-in JSON leaves out what hooks take. */
import { mkdirSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";
import { type FileResult, RESULTS_FILE, RESULTS_FOLDER, type Results } from "./results.ts";

export default class ResultsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const results: Results = { files: modules.map(resultOf), unhandled: unhandled.length };
    mkdirSync(RESULTS_FOLDER, { recursive: true });
    writeFileSync(RESULTS_FILE, JSON.stringify(results));
  }
}

function resultOf(module: TestModule): FileResult {
  const states = [...module.children.allTests()].map((test) => test.result().state);
  const inState = (state: string) => states.filter((one) => one === state).length;
  const { collectDuration, setupDuration, duration } = module.diagnostic();
  const failed = inState("failed");
  return {
    ring: module.project.name,
    file: relative(module.project.config.root, module.moduleId),
    seconds: (collectDuration + setupDuration + duration) / 1000,
    passed: inState("passed"),
    failed,
    skipped: inState("skipped") + inState("pending"),
    broken: !module.ok(),
  };
}
