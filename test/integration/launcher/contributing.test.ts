/** What CONTRIBUTING.md says about a launcher alone works as it stands there. */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { ROOT, shellBlock } from "../../support/documents.ts";
import { containersOf } from "./host.ts";

it("starts a launcher, makes a sandbox, looks into it, and leaves nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ky-contributing-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const block = shellBlock("CONTRIBUTING.md", "node gateway/launcher/main.ts");
  const { stdout } = await promisify(execFile)("bash", ["-euc", block], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, TMPDIR: folder },
  });
  expect(stdout).toContain('"isolation":"runsc"');
  expect(stdout).toContain('"kind":"fresh"');
  expect(stdout).toContain("uid=10001");
  expect(stdout).toContain("/opt/kernelyard/supervisor");
  const [dataDirectory] = readdirSync(folder);
  expect(await containersOf(join(folder, dataDirectory ?? ""))).toEqual([]);
});
