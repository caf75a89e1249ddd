/**
 * LibreChat's client packages, exactly as locked, without their scripts. A step of `npm test`, and Vitest's global set-up
 * of the contract ring for who runs Vitest itself.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FIXTURES = join(import.meta.dirname, "../fixtures");
const STAMP = "node_modules/.installed";
const INSTALL_WITHIN_MS = 600_000;

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

export function setup(): void {
  for (const generation of ["gen1", "gen2"]) {
    const folder = join(FIXTURES, generation);
    const lock = createHash("sha256")
      .update(readFileSync(join(folder, "package-lock.json")))
      .digest("hex");
    if (readIfThere(join(folder, STAMP)) === lock) continue;
    // 3.9.2 depends on a package whose only content is an install script that nothing needs.
    execFileSync("npm", ["ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
      timeout: INSTALL_WITHIN_MS,
    });
    writeFileSync(join(folder, STAMP), lock);
  }
}

if (import.meta.main) setup();
