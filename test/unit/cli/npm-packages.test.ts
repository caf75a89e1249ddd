/** What runs before every npm script: says nothing when the packages are there, and tells wrong use apart. */
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const SCRIPT = join(import.meta.dirname, "../../../gateway/cli/npm-packages.sh");

test("it is correct shell, and its wrong use is told apart", () => {
  execFileSync("sh", ["-n", SCRIPT]);
  expect(spawnSync("sh", [SCRIPT]).status).toBe(2);
  expect(spawnSync("sh", [SCRIPT, "some"]).status).toBe(2);
});
