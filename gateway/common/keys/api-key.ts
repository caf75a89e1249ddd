/** The API key that `npm start` makes when the operator gave none. */
import { createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface StoredKey {
  readonly key: string;
  readonly path: string;
  /** True when this start made it: the only time it is printed. */
  readonly created: boolean;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/** Reads `api-key` in `directory`, or makes one of 256 random bits, mode 0600, whole or not at all. */
export function ensureApiKey(directory: string): StoredKey {
  const path = join(directory, "api-key");
  const present = readIfThere(path);
  if (present !== null) {
    if (present.length < 16) throw new Error(`${path} holds no usable key: remove the file and start again.`);
    return { key: present, path, created: false };
  }
  const key = `ky_${randomBytes(32).toString("base64url")}`;
  const unfinished = `${path}.new`;
  const file = openSync(unfinished, "w", 0o600);
  writeSync(file, `${key}\n`);
  fsyncSync(file);
  closeSync(file);
  renameSync(unfinished, path);
  return { key, path, created: true };
}

/** How the key travels to the gateway: it never needs the key itself. */
export function hashedKeySetting(tenant: string, key: string): string {
  return `${tenant}=sha256:${createHash("sha256").update(key).digest("hex")}`;
}
