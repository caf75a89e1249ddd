/** What CONTRIBUTING.md says about the supervisor as a plain process works as it stands there. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT, shellBlock } from "../support/documents.ts";

test("npm run supervisor shows what a call came to", async () => {
  const block = shellBlock("CONTRIBUTING.md", "npm run supervisor");
  const { stdout } = await promisify(execFile)("sh", ["-ec", block], { cwd: ROOT });
  expect(stdout).toContain("── stdout\n42\n");
  expect(stdout).toContain('"exit_code": 0');
  expect(stdout).toContain("a.txt (created, 1 bytes)");
});

test("npm run supervisor takes other languages, and says how it is used", async () => {
  const run = (...words: string[]) =>
    promisify(execFile)("npm", ["run", "--silent", "supervisor", "--", ...words], { cwd: ROOT });
  expect((await run("echo $((6 * 7))", "bash")).stdout).toContain("── stdout\n42\n");
  await expect(run()).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining("Usage") });
});
