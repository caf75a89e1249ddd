/**
 * A virtual environment with the image's locked libraries and the development tools: supervisor and kernel run from it as
 * plain processes, without a container. Made once per pair of locks, in the user's cache.
 *
 * `node sandbox-image/tools/venv.ts` prints the path of its Python on the last line.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mustRun, runCommand } from "./command.ts";
import {
  cacheDirectory,
  DEV_LOCK,
  ensureLock,
  ensureUv,
  IMAGE_LOCK,
  PYTHON_VERSION,
  uvEnvironment,
} from "./lock.ts";

const INSTALL_TIMEOUT_MS = 600_000;
/** Written last: an environment without it was left half made. */
const COMPLETE = "kernelyard-complete";

async function findPython(say: (line: string) => void): Promise<string> {
  const name = `python${PYTHON_VERSION}`;
  const find = () =>
    runCommand(name, ["-c", "import sys; print(sys.executable)"], { timeoutMs: 30_000 }).then((result) =>
      result.code === 0 ? result.stdout.trim() : null,
    );
  const found = await find();
  if (found !== null) return found;
  if (process.getuid?.() === 0) {
    say(`${name} is missing: installing it from the distribution`);
    const options = {
      timeoutMs: INSTALL_TIMEOUT_MS,
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    };
    await runCommand("apt-get", ["update", "-q"], options);
    await runCommand("apt-get", ["install", "-q", "-y", "--no-install-recommends", name], options);
    const installed = await find();
    if (installed !== null) return installed;
  }
  throw new Error(
    `${name} is needed on PATH (the sandbox image has the same version): apt-get install ${name}`,
  );
}

/** The environment's Python. The environment is never changed once it is complete. */
export async function ensureVenv(say: (line: string) => void): Promise<string> {
  for (const spec of [IMAGE_LOCK, DEV_LOCK]) await ensureLock(spec, say);
  const python = await findPython(say);
  const key = createHash("sha256")
    .update(python)
    .update(readFileSync(IMAGE_LOCK.lock))
    .update(readFileSync(DEV_LOCK.lock))
    .digest("hex")
    .slice(0, 16);
  const home = join(cacheDirectory(), `venv-${key}`);
  const program = join(home, "bin", "python");
  if (existsSync(join(home, COMPLETE))) return program;

  const uv = await ensureUv();
  say(`Making a Python environment in ${home}`);
  const making = mkdtempSync(join(cacheDirectory(), "making-venv-"));
  try {
    const options = { timeoutMs: INSTALL_TIMEOUT_MS, env: uvEnvironment() };
    // Relocatable: it is made beside its place and renamed when complete.
    await mustRun(
      "Making the environment",
      uv,
      ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", python, making],
      options,
    );
    await mustRun(
      "Installing the locked libraries (a package index must be reachable)",
      uv,
      [
        ...["pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--compile-bytecode"],
        ...["--python", join(making, "bin", "python"), "-r", IMAGE_LOCK.lock, "-r", DEV_LOCK.lock],
      ],
      options,
    );
    writeFileSync(join(making, COMPLETE), "");
    try {
      renameSync(making, home);
    } catch (error) {
      // Somebody else was faster; theirs is as good.
      if (!existsSync(join(home, COMPLETE))) throw error;
    }
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return program;
}

if (import.meta.main) {
  try {
    const python = await ensureVenv((line) => void process.stdout.write(`${line}\n`));
    process.stdout.write(`${python}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
