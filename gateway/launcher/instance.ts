/** Which launcher this is: the data directory's own id, and a lock so that two never share one directory. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { newId } from "./engine/labels.ts";

export class InstanceError extends Error {
  override readonly name = "InstanceError";
}

export interface Instance {
  readonly id: string;
  unlock(): void;
}

/** Throws `InstanceError` when another launcher has the directory. */
export function openInstance(dataDir: string): Instance {
  mkdirSync(dataDir, { recursive: true });
  const descriptor = lockFile(
    launcherLock(dataDir),
    `another launcher uses ${dataDir}; stop it, or give this one its own KERNELYARD_DATA_DIR`,
  );
  const path = join(dataDir, "instance");
  let id = readId(path);
  if (id === null) {
    id = newId();
    writeFileSync(`${path}.tmp`, `${id}\n`, { mode: 0o644, flush: true });
    renameSync(`${path}.tmp`, path);
  }
  return { id, unlock: () => closeSync(descriptor) };
}

/** Held by whoever may change the directory as a whole: its launcher, or a restore. */
export const launcherLock = (dataDir: string) => join(dataDir, "launcher.lock");

/**
 * flock(2) belongs to the open file description, which the helper shares with us: it locks and goes, the lock stays
 * until this process ends in whatever way. Throws `InstanceError` with the sentence `taken` when somebody else has it.
 */
export function lockFile(path: string, taken: string): number {
  const descriptor = openSync(path, "a", 0o600);
  const locked = spawnSync("flock", ["--nonblock", "3"], {
    stdio: ["ignore", "ignore", "pipe", descriptor],
    timeout: 10_000,
  });
  if (locked.status === 0) return descriptor;
  closeSync(descriptor);
  if (locked.error !== undefined) {
    throw new InstanceError(`flock (package util-linux) cannot be run: ${locked.error.message}`);
  }
  throw new InstanceError(taken);
}

function readId(path: string): string | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
  if (/^[A-Za-z0-9_-]{21}$/.test(text)) return text;
  throw new InstanceError(`${path} does not hold an instance id; restore it, or remove it to begin anew`);
}
