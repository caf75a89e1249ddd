/** `npm run drill`: the long form of tests that look for what happens seldom. Minutes; `npm test` runs the short form. */

import { setUp } from "./runner/set-up.ts";
import { runStage } from "./runner/stage.ts";

process.env.DRILL = "long";
const missing = await setUp(["host", "image"]);
if (missing.length > 0) {
  process.stdout.write(`The drills cannot run without: ${missing.join(", ")}.\n`);
  process.exitCode = 1;
} else {
  const command = ["vitest", "run", "--project=integration", "test/integration/drill"] as const;
  if (!(await runStage({ title: "drills", command }))) process.exitCode = 1;
}
