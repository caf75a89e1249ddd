import { createPublicKey, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ensureJwtKeys, PRIVATE_KEY_FILE } from "../../../gateway/common/keys/jwt-pair.ts";
import { librechatEnvironment } from "../../../gateway/common/keys/librechat-environment.ts";
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
    const environment = parseEnvironment(librechatEnvironment({ baseUrl, apiKey: null, jwt: keys }));
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

describe("LibreChat's environment", () => {
  const jwt = { privateKeyPem: "PEM", kid: "k1", path: "/keys/pair.pem", created: true };

  it("for tokens, and the key for older versions beside them", () => {
    expect(librechatEnvironment({ baseUrl, apiKey: "ky_1", jwt })).toBe(
      [
        "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1",
        "CODEAPI_JWT_ENABLED=true",
        "CODEAPI_JWT_PRIVATE_KEY_BASE64=UEVN",
        "CODEAPI_JWT_KID=k1",
        "# Only LibreChat 0.8.5 and older send this one:",
        "LIBRECHAT_CODE_API_KEY=ky_1",
        "",
      ].join("\n"),
    );
  });

  it("for a key alone", () => {
    expect(librechatEnvironment({ baseUrl, apiKey: "ky_1", jwt: null })).toBe(
      "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1\nLIBRECHAT_CODE_API_KEY=ky_1\n",
    );
  });

  it("for a private network", () => {
    expect(librechatEnvironment({ baseUrl, apiKey: null, jwt: null })).toBe(
      "LIBRECHAT_CODE_BASEURL=http://127.0.0.1:3112/v1\n",
    );
  });

  it("does not print a private key twice, and says how to get it", () => {
    const text = librechatEnvironment({ baseUrl, apiKey: null, jwt: { ...jwt, created: false } });
    expect(text).not.toContain("UEVN");
    expect(text).toContain("base64 -w0 /keys/pair.pem");
  });

  it("tells LibreChat what differs from its defaults", () => {
    const text = librechatEnvironment({
      baseUrl,
      apiKey: null,
      jwt,
      issuer: "me",
      audience: "you",
      maxLifetimeSeconds: 60,
    });
    expect(text).toContain("CODEAPI_JWT_ISSUER=me\nCODEAPI_JWT_AUDIENCE=you\nCODEAPI_JWT_TTL_SECONDS=60\n");
  });
});
