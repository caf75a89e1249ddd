/** Committed copies are what the code says now. The locks' test is `image/lock.test.ts`; the seccomp profile's needs Go. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { COPIES } from "../../generate.ts";

const ROOT = join(import.meta.dirname, "../../..");

it.each(COPIES)("$path is current (npm run generate)", async ({ path, make }) => {
  expect(readFileSync(join(ROOT, path), "utf8")).toBe(await make());
});
