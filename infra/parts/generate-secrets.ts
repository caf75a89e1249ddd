/** Prints new keys as one line of JSON, for a stack that has none. Run by the deployment; its output is a secret. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureJwtKeys } from "../../gateway/common/keys/jwt-pair.ts";
import type { GeneratedKeys } from "./secrets.ts";

const directory = mkdtempSync(join(tmpdir(), "kernelyard-keys-"));
try {
  const pair = await ensureJwtKeys(directory);
  const keys: GeneratedKeys = {
    apiKey: `ky_${randomBytes(32).toString("base64url")}`,
    registryPassword: randomBytes(24).toString("base64url"),
    jwtPrivateKeyPem: pair.privateKeyPem,
    jwtPublicKeyPem: pair.publicKeyPem,
    jwtKid: pair.kid,
  };
  process.stdout.write(`${JSON.stringify(keys)}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
