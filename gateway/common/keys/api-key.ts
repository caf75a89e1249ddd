/** API keys: how they are made, kept, written in a setting and hashed. They are long and random, so one hash is enough. */
import { hash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { DEFAULT_TENANT, TenantName } from "../protocol/launcher-api.ts";
import { codePoint } from "../settings/visible.ts";
import { readSecret, writeSecret } from "./secret-file.ts";

/** Shorter keys can be guessed. */
const SHORTEST_KEY = 16;

/** A key as the gateway knows it: whose it is, and its SHA-256. */
export interface ApiKey {
  readonly tenant: string;
  readonly sha256: Buffer;
}

/** 256 random bits. */
export function newApiKey(): string {
  return `ky_${randomBytes(32).toString("base64url")}`;
}

export function keyDigest(key: string): Buffer {
  return hash("sha256", key, "buffer");
}

/** The entries of `KERNELYARD_API_KEYS`, as they are written. */
export function keyEntries(setting: string | null): string[] {
  return (setting ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/** `KEY` or `TENANT=KEY`. A bare key may end in `=` (base64): a tenant comes before something. */
export function splitKeyEntry(entry: string): { readonly tenant: string | null; readonly key: string } {
  const separator = entry.indexOf("=");
  const named = separator > 0 && !/^=+$/.test(entry.slice(separator));
  return named
    ? { tenant: entry.slice(0, separator), key: entry.slice(separator + 1) }
    : { tenant: null, key: entry };
}

/** No header carries these. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/u;
const QUOTES = "\"'`“”‘’«»";

/** Reads `KEY`, `TENANT=KEY` or `TENANT=sha256:HEX`; a string says what is wrong with it and what to do, without the key. */
export function readKeyEntry(entry: string): ApiKey | string {
  const { tenant: named, key } = splitKeyEntry(entry);
  const quote = [entry.at(0), key.at(0), key.at(-1)].find((end) => end !== undefined && QUOTES.includes(end));
  if (quote !== undefined) {
    return `has quotes around it (${quote}), which would be part of the key. Remove them.`;
  }
  const tenant = named ?? DEFAULT_TENANT;
  if (!TenantName.safeParse(tenant).success) {
    return "names a tenant that is not lower case letters, digits and `-` (at most 32). Rename it.";
  }
  if (key.startsWith("sha256:")) {
    const hex = key.slice("sha256:".length);
    if (!/^[0-9a-f]{64}$/i.test(hex)) {
      return "has a `sha256:` value that is not 64 hexadecimal digits. Use the digest of the key.";
    }
    return { tenant, sha256: Buffer.from(hex, "hex") };
  }
  if (key.length < SHORTEST_KEY) {
    return `is shorter than ${SHORTEST_KEY} characters. Use a long random key, for example from \`openssl rand -hex 32\`.`;
  }
  const [odd] = UNSENDABLE.exec(key) ?? [];
  if (odd !== undefined) return `has a character (${codePoint(odd)}) that no caller can send. Remove it.`;
  return { tenant, sha256: keyDigest(key) };
}

/** By which a key travels to the gateway, which never needs the key itself. */
export const hashedKey = (key: string): string => `sha256:${keyDigest(key).toString("hex")}`;

/** The entry of `KERNELYARD_API_KEYS`, likewise. */
export const hashedKeySetting = (tenant: string, key: string): string => `${tenant}=${hashedKey(key)}`;

export interface StoredKey {
  readonly key: string;
  readonly path: string;
  /** True when this start made it: the only time it is printed. */
  readonly created: boolean;
}

/** File of the operator's key, beside that of the callers' one. */
export const OPERATOR_KEY_FILE = "operator-key";

/** Reads the key of this name in `directory`, or makes one: a LibreChat's, or the operator's. */
export function ensureKey(directory: string, name: "api-key" | typeof OPERATOR_KEY_FILE): StoredKey {
  const path = join(directory, name);
  const present = readSecret(path)?.trim() ?? null;
  if (present !== null) {
    if (present.length < SHORTEST_KEY) {
      throw new Error(`${path} holds no usable key: remove the file and start again.`);
    }
    return { key: present, path, created: false };
  }
  const key = newApiKey();
  writeSecret(path, `${key}\n`);
  return { key, path, created: true };
}
