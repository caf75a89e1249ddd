/** Who this host is to the others of its fleet: an id that lasts as long as the data directory, and what tells a copy of it. */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isId, newId } from "../../common/ids.ts";
import type { Speaker } from "./directory/directory.ts";

/** New whenever a machine starts; two that run at the same time never have the same. */
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

export const hostFile = (dataDir: string) => join(dataDir, "gateway", "fleet-host");

/** Reads the id, or makes one. Throws when the file is there and holds something else. */
export function readSpeaker(dataDir: string): Speaker {
  const path = hostFile(dataDir);
  return { host: readHost(path) ?? makeHost(path), nonce: machine(), since: Date.now() };
}

/** The id that is there already; null: this host has never taken part. */
export const knownHost = (dataDir: string): string | null => readHost(hostFile(dataDir));

function readHost(path: string): string | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
  if (isId(text)) return text;
  throw new Error(`${path} does not hold a host's id; remove it, and the host joins its fleet as a new one`);
}

function makeHost(path: string): string {
  const host = newId();
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `${host}\n`, { mode: 0o600, flush: true });
  return host;
}

function machine(): string {
  let boot: string;
  try {
    boot = readFileSync(BOOT_ID, "utf8");
  } catch {
    // Then a restarted gateway waits for its own lease to end, and nothing is unsafe.
    boot = randomUUID();
  }
  return createHash("sha256").update(boot).digest("base64url");
}
