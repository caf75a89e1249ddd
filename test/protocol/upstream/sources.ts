/** The sources of a locked Python package, with its tests: the registry's own archive, checked against the lock. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mustRun } from "../../../sandbox-image/tools/command.ts";
import { cacheDirectory, IMAGE_LOCK, lockEntry } from "../../../sandbox-image/tools/lock.ts";

const DOWNLOAD_TIMEOUT_MS = 300_000;

/** The folder of the unpacked archive; fetched once per version, into the user's cache. */
export async function packageSources(python: string, name: string): Promise<string> {
  const entry = lockEntry(readFileSync(IMAGE_LOCK.lock, "utf8"), name);
  const version = /==(\S+)/.exec(entry)?.[1];
  if (version === undefined) throw new Error(`The lock's entry of ${name} has no version.`);
  const home = join(cacheDirectory(), `sources-${name}-${version}`);
  if (existsSync(home)) return join(home, `${name}-${version}`);
  const making = mkdtempSync(join(cacheDirectory(), "making-sources-"));
  try {
    await mustRun(
      `Fetching the sources of ${name} ${version}`,
      python,
      ["-m", "pip", "download", "--no-deps", "--no-binary", name, "--dest", making, `${name}==${version}`],
      { timeoutMs: DOWNLOAD_TIMEOUT_MS },
    );
    const [archive] = readdirSync(making);
    if (archive === undefined) throw new Error(`pip fetched nothing for ${name} ${version}.`);
    const path = join(making, archive);
    const hash = createHash("sha256").update(readFileSync(path)).digest("hex");
    if (!entry.includes(hash)) throw new Error(`${archive} is not what the lock names: sha256 ${hash}.`);
    await mustRun(`Unpacking ${archive}`, "tar", ["-xzf", path, "-C", making], { timeoutMs: 60_000 });
    rmSync(path);
    renameSync(making, home);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return join(home, `${name}-${version}`);
}
