/** Who calls: what LibreChat is given (its environment), and the tokens it would sign with it. */
import { createHash, createPrivateKey, type KeyObject, randomUUID } from "node:crypto";
import { SignJWT } from "jose";

const LIFETIME_SECONDS = 300;

export interface Credentials {
  /** Base URL as LibreChat is told it; null: not said. */
  readonly baseUrl: string | null;
  readonly apiKey: string | null;
  readonly pair: TokenPair | null;
}

interface TokenPair {
  readonly key: KeyObject;
  readonly kid: string;
  readonly issuer: string;
  readonly audience: string;
  readonly lifetimeSeconds: number;
}

/** Lines of a `.env` file; comments and what is no assignment are left out. */
export function parseEnvironment(text: string): Readonly<Record<string, string>> {
  const lines = text.split("\n").map((line) => /^\s*([A-Z_][A-Z0-9_]*)=(.*?)\s*$/.exec(line));
  return Object.fromEntries(lines.flatMap((found) => (found ? [[found[1] ?? "", found[2] ?? ""]] : [])));
}

/** Throws when a private key is given that is none. */
export function readCredentials(environment: Readonly<Record<string, string | undefined>>): Credentials {
  const given = (name: string) => environment[name] || null;
  const base64 = given("CODEAPI_JWT_PRIVATE_KEY_BASE64");
  return {
    baseUrl: given("LIBRECHAT_CODE_BASEURL"),
    apiKey: given("LIBRECHAT_CODE_API_KEY"),
    pair:
      base64 === null
        ? null
        : {
            key: privateKey(base64),
            kid: given("CODEAPI_JWT_KID") ?? "",
            issuer: given("CODEAPI_JWT_ISSUER") ?? "librechat",
            audience: given("CODEAPI_JWT_AUDIENCE") ?? "codeapi",
            lifetimeSeconds: Number(given("CODEAPI_JWT_TTL_SECONDS") ?? LIFETIME_SECONDS),
          },
  };
}

function privateKey(base64: string): KeyObject {
  try {
    return createPrivateKey(Buffer.from(base64, "base64").toString("utf8"));
  } catch {
    throw new Error("CODEAPI_JWT_PRIVATE_KEY_BASE64 is no private key in base64 of a PEM");
  }
}

/** As LibreChat signs it for one of its users; `key` in place of the pair's own is somebody else's. */
export function tokenOf(pair: TokenPair, user: string, key: KeyObject = pair.key): Promise<string> {
  const tenant = "legacy";
  const role = "USER";
  const context = {
    chc_user_id: "",
    org_id: "",
    principal_source: "librechat_jwt",
    role,
    service_id: "",
    sub: user,
    tenant_id: tenant,
  };
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({
    tenant_id: tenant,
    role,
    principal_source: "librechat_jwt",
    auth_context_hash: createHash("sha256").update(JSON.stringify(context)).digest("hex"),
  })
    .setProtectedHeader({
      alg: key.asymmetricKeyType === "rsa" ? "RS256" : "EdDSA",
      typ: "JWT",
      kid: pair.kid,
    })
    .setIssuer(pair.issuer)
    .setAudience(pair.audience)
    .setSubject(user)
    .setIssuedAt(now)
    .setNotBefore(now)
    .setExpirationTime(now + pair.lifetimeSeconds)
    .setJti(randomUUID())
    .sign(key);
}
