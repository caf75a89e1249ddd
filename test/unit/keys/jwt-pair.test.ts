import { createPublicKey, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureJwtKeys, PRIVATE_KEY_FILE } from "../../../gateway/common/keys/jwt-pair.ts";
import { librechatEnvironment } from "../../../gateway/common/librechat/environment.ts";
import { JwtAuthenticator, parsePublicKey } from "../../../gateway/server/auth/jwt.ts";
import { parseEnvironment, TokenSigner } from "../../support/librechat/tokens.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-keys-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const baseUrl = "http://127.0.0.1:3112/v1";

describe("the generated pair", () => {
  it("is made once, readable by its owner alone", () => {
    const made = ensureJwtKeys(directory);
    expect(made.created).toBe(true);
    expect(statSync(made.path).mode & 0o777).toBe(0o600);
    const again = ensureJwtKeys(directory);
    expect(again).toEqual({ ...made, created: false });
  });

  it("is refused when the file holds something else, without repeating it", () => {
    writeFileSync(join(directory, PRIVATE_KEY_FILE), "a secret of somebody");
    expect(() => ensureJwtKeys(directory)).toThrow(/holds no Ed25519 private key: remove the file/);
    expect(() => ensureJwtKeys(directory)).not.toThrow(/secret of somebody/);
    expect(readFileSync(join(directory, PRIVATE_KEY_FILE), "utf8")).toBe("a secret of somebody");
  });

  it("signs, from the environment text alone, what the gateway accepts", async () => {
    const keys = ensureJwtKeys(directory);
    const environment = parseEnvironment(
      librechatEnvironment({ baseUrl, auth: ["jwt"], apiKey: null, jwt: keys }),
    );
    const token = TokenSigner.fromEnvironment(environment).sign({ id: "u1" });
    const [header, claims, signature] = token.split(".");
    const bytes = Buffer.from(signature ?? "", "base64url");
    expect(verify(null, Buffer.from(`${header}.${claims}`), createPublicKey(keys.publicKeyPem), bytes)).toBe(
      true,
    );
    const gateway = new JwtAuthenticator(parsePublicKey(keys.publicKeyPem), {
      issuer: "librechat",
      audience: "codeapi",
      maxLifetimeS: 300,
    });
    expect(await gateway.authenticate(() => `Bearer ${token}`)).toMatchObject({ kind: "accepted" });
  });
});
