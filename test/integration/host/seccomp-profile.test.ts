/** The committed seccomp profile is what its derivation makes of the engine's own, fetched from the Go module proxy. */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { Derivation } from "../../../gateway/host/seccomp/derive.ts";

const SECCOMP = join(import.meta.dirname, "../../../gateway/host/seccomp");
const check = (folder: string) =>
  promisify(execFile)(process.execPath, [join(folder, "derive.ts"), "--check"], { timeout: 100_000 });

it("is current (npm run generate)", async () => {
  await check(SECCOMP);
});

it("is noticed when its derivation has changed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-seccomp-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  cpSync(SECCOMP, folder, { recursive: true });
  symlinkSync(join(SECCOMP, "../../../node_modules"), join(folder, "node_modules"));
  const file = join(folder, "derivation.json");
  const derivation = Derivation.parse(JSON.parse(readFileSync(file, "utf8")));
  const removed = [...derivation.removed, { names: ["read"], reason: "of this test" }];
  writeFileSync(file, JSON.stringify({ ...derivation, removed }));
  await expect(check(folder)).rejects.toThrow("profile.json is not what derivation.json gives");
});
