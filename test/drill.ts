/**
 * `npm run drill`: the long form of tests that look for what happens seldom or takes long. Minutes; `npm test` runs the short
 * form. `npm run drill -- profiles`: only that one of `test/integration/drill/`. Images that a drill needs are built first.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setUp } from "./runner/set-up.ts";
import { runStage, type Stage } from "./runner/stage.ts";

const FOLDER = "test/integration/drill";
const ROOT = join(import.meta.dirname, "..");

/** Built and verified by these drills alone: their images are large. */
const FURTHER_PROFILES: Readonly<Record<string, readonly string[]>> = {
  profiles: ["documents", "polyglot"],
  languages: ["polyglot"],
  figures: ["documents", "polyglot"],
};
const buildOf = (profile: string): Stage => ({
  title: `sandbox image, profile ${profile}`,
  command: ["node", "sandbox-image/tools/build.ts", "--profile", profile],
});

async function drill(names: readonly string[]): Promise<boolean> {
  const unknown = names.find((name) => !existsSync(join(ROOT, FOLDER, `${name}.test.ts`)));
  if (unknown !== undefined) {
    process.stdout.write(`There is no drill ${unknown}: see ${FOLDER}.\n`);
    return false;
  }
  const missing = await setUp([
    "host",
    "image",
    "analyst",
    "clients",
    "s3",
    "prometheus",
    "redis",
    "haproxy",
  ]);
  if (missing.length > 0) {
    process.stdout.write(`The drills cannot run without: ${missing.join(", ")}.\n`);
    return false;
  }
  const further = names.length === 0 ? Object.keys(FURTHER_PROFILES) : names;
  for (const profile of new Set(further.flatMap((name) => FURTHER_PROFILES[name] ?? [])))
    if (!(await runStage(buildOf(profile)))) return false;
  const files = names.length === 0 ? [FOLDER] : names.map((name) => `${FOLDER}/${name}.test.ts`);
  const command: Stage["command"] = ["vitest", "run", "--project=integration", ...files];
  return runStage({ title: "drills", command });
}

process.env.DRILL = "long";
if (!(await drill(process.argv.slice(2)))) process.exitCode = 1;
