/** Signs tokens with nothing but what LibreChat has: the environment text it was given. Written after its rules. */
import { createHash, createPrivateKey, type KeyObject, randomUUID, sign } from "node:crypto";

export interface LibrechatUser {
  readonly id: string;
  readonly tenant?: string;
  readonly role?: string;
}

/** Lines of a `.env` file, comments left out. */
export function parseEnvironment(text: string): ReadonlyMap<string, string> {
  const entries = text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line): [string, string] => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    });
  return new Map(entries);
}

const base64url = (value: string | Buffer): string => Buffer.from(value).toString("base64url");

export interface TokenParts {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
}

export class TokenSigner {
  readonly #key: KeyObject;
  readonly #kid: string;

  constructor(privateKeyPem: string, kid: string) {
    this.#key = createPrivateKey(privateKeyPem);
    this.#kid = kid;
  }

  /** The key arrives as base64 of a PEM and the `kid` beside it. */
  static fromEnvironment(environment: ReadonlyMap<string, string>): TokenSigner {
    const pem = Buffer.from(environment.get("CODEAPI_JWT_PRIVATE_KEY_BASE64") ?? "", "base64").toString(
      "utf8",
    );
    return new TokenSigner(pem, environment.get("CODEAPI_JWT_KID") ?? "");
  }

  /** `parts` replace single header fields and claims; `undefined` removes one. */
  sign(user: LibrechatUser, parts: TokenParts = {}): string {
    const rsa = this.#key.asymmetricKeyType === "rsa";
    const now = Math.floor(Date.now() / 1000);
    const tenant = user.tenant ?? "legacy";
    const role = user.role ?? "USER";
    const context = {
      chc_user_id: "",
      org_id: "",
      principal_source: "librechat_jwt",
      role,
      service_id: "",
      sub: user.id,
      tenant_id: tenant,
    };
    const header = { alg: rsa ? "RS256" : "EdDSA", typ: "JWT", kid: this.#kid, ...parts.header };
    const claims = {
      iss: "librechat",
      aud: "codeapi",
      sub: user.id,
      iat: now,
      nbf: now,
      exp: now + 300,
      jti: randomUUID(),
      tenant_id: tenant,
      role,
      principal_source: "librechat_jwt",
      auth_context_hash: createHash("sha256").update(JSON.stringify(context)).digest("hex"),
      ...parts.claims,
    };
    const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
    const signature = sign(rsa ? "RSA-SHA256" : null, Buffer.from(input), this.#key);
    return `${input}.${base64url(signature)}`;
  }

  headers(user: LibrechatUser): { Authorization: string } {
    return { Authorization: `Bearer ${this.sign(user)}` };
  }
}
