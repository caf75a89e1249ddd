/** `npm run check`: everything that is decided by reading. `npm test` runs the same list. */
import { setUp } from "./runner/set-up.ts";
import { runStage, type Stage } from "./runner/stage.ts";

export const CHECKS: readonly Stage[] = [
  { title: "format and lint", command: ["biome", "check", "."] },
  { title: "types", command: ["tsc", "--noEmit"] },
  // A package of its own, which Pulumi loads as CommonJS.
  { title: "types of the policies", command: ["tsc", "--noEmit", "--project", "policies/tsconfig.json"] },
  { title: "Python: format, lint, types", command: ["node", "sandbox-image/tools/check-python.ts"] },
  { title: "shell scripts", command: ["node", "test/check-shell.ts"] },
];

/** The titles of those that failed. */
export async function runChecks(): Promise<string[]> {
  // Two of them use it, and only one should make it.
  await setUp(["python"]);
  const outcomes = await Promise.all(CHECKS.map((check) => runStage(check, "at the end")));
  return CHECKS.filter((_, index) => !outcomes[index]).map(({ title }) => title);
}

if (import.meta.main) {
  const failed = await runChecks();
  process.stdout.write(`\n${failed.length === 0 ? "All checks passed." : `Failed: ${failed.join("; ")}.`}\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
