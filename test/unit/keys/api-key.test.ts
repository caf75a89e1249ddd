import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  ensureKey,
  hashedKeySetting,
  keyDigest,
  keyEntries,
  newApiKey,
  readKeyEntry,
} from "../../../gateway/common/keys/api-key.ts";

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-keys-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

describe("a generated key", () => {
  it("is made once, readable by its owner alone, and accepted as an entry", () => {
    const directory = temporaryDirectory();
    const made = ensureKey(directory, "api-key");
    expect(made).toMatchObject({ created: true, key: expect.stringMatching(/^ky_[A-Za-z0-9_-]{43}$/) });
    expect(statSync(made.path).mode & 0o777).toBe(0o600);
    expect(ensureKey(directory, "api-key")).toEqual({ ...made, created: false });
    expect(readKeyEntry(made.key)).toEqual({ tenant: "default", sha256: keyDigest(made.key) });
    expect(newApiKey()).not.toBe(made.key);
  });

  it("is refused when the file holds something else, without repeating it", () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "api-key"), "too short");
    expect(() => ensureKey(directory, "api-key")).toThrow(/api-key holds no usable key: remove the file/);
    expect(() => ensureKey(directory, "api-key")).not.toThrow(/too short/);
  });
});

describe("an entry", () => {
  const key = "some-key-0123456789";
  const padded = "a2v5lxroyxqtaxmtbg9uzw==";

  it.each([
    [key, "default", key],
    [`acme=${key}`, "acme", key],
    [padded, "default", padded],
    [`acme=${padded}`, "acme", padded],
  ])("%s means the same once it is hashed", (entry, tenant, plain) => {
    const read = { tenant, sha256: keyDigest(plain) };
    expect(readKeyEntry(entry)).toEqual(read);
    expect(readKeyEntry(hashedKeySetting(tenant, plain))).toEqual(read);
  });

  it("stands between commas", () => {
    expect(keyEntries(` ${key},, acme=${key} ,`)).toEqual([key, `acme=${key}`]);
    expect(keyEntries(null)).toEqual([]);
  });
});
