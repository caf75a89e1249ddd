/**
 * LibreChat's own tokens (its `packages/api/src/auth/codeapi.ts`): EdDSA or RS256, `kid` in the header, at most
 * `KERNELYARD_JWT_MAX_LIFETIME_S` long, one per user. LibreChat uses each for up to 30 s, so `jti` is no one-time value.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { createRemoteJWKSet, decodeProtectedHeader, errors, type JWTVerifyGetKey, jwtVerify } from "jose";
import { keyId } from "../../common/keys/jwt-pair.ts";
import { type Settings, SettingsError } from "../../common/settings/read.ts";
import {
  ABSENT,
  type AuthDecision,
  type Authenticator,
  type HeaderReader,
  refused,
} from "./authenticator.ts";
import type { Principal } from "./principal.ts";
import { unknownKid, whyRefused } from "./token-refusal.ts";
import { tokenTenant } from "./token-tenant.ts";

/** Clocks of two machines differ by seconds. */
export const CLOCK_TOLERANCE_S = 30;
/** A token of LibreChat has about 700 characters. */
const LONGEST_TOKEN = 8192;
/** Verified tokens that are remembered until they expire: one per user and half minute. */
const REMEMBERED_TOKENS = 2048;
const SMALLEST_RSA_BITS = 2048;
/** Tenant of tokens that name none, as in the reference. */
const DEFAULT_TOKEN_TENANT = "legacy";

const text = z.string().min(1).max(256);
const time = z.number().int().nonnegative();

const Claims = z.object({
  sub: text,
  jti: text,
  iat: time,
  nbf: time,
  exp: time,
  principal_source: z.enum(["librechat_jwt", "openid_reuse"]),
  auth_context_hash: text,
  tenant_id: text.optional(),
  role: text.optional(),
  org_id: text.optional(),
  service_id: text.optional(),
  chc_user_id: text.optional(),
  plan_id: text.optional(),
  code_worker_id: text.optional(),
});

export interface TokenRules {
  readonly issuer: string;
  readonly audience: string;
  readonly maxLifetimeS: number;
}

export interface VerificationKey {
  readonly key: KeyObject | JWTVerifyGetKey;
  readonly algorithms: readonly string[];
  /** The only name that tokens may give the key; null: the key set decides. */
  readonly kid: string | null;
}

/** Reads a public key, named as `npm start` and stacks name it: PEM, PEM with `\n` written out, or base64 of a PEM. Throws `SettingsError`. */
export function parsePublicKey(setting: string): VerificationKey {
  const unescaped = setting.replaceAll("\\n", "\n").trim();
  const pem = unescaped.startsWith("-----BEGIN")
    ? unescaped
    : Buffer.from(unescaped, "base64").toString("utf8").trim();
  const problem = (what: string) => new SettingsError([`KERNELYARD_JWT_PUBLIC_KEY: ${what}`]);
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw problem(
      "this is a private key, which belongs to LibreChat alone. Set its public half (`openssl pkey -pubout`).",
    );
  }
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw problem(
      "is no public key in PEM form (nor base64 of one). Set the output of `openssl pkey -pubout`.",
    );
  }
  const kid = keyId(key);
  if (key.asymmetricKeyType === "ed25519") return { key, algorithms: ["EdDSA", "Ed25519"], kid };
  if (key.asymmetricKeyType === "rsa") {
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < SMALLEST_RSA_BITS) {
      throw problem(`an RSA key needs at least ${SMALLEST_RSA_BITS} bits. Make a longer one.`);
    }
    return { key, algorithms: ["RS256"], kid };
  }
  throw problem(`keys of type ${key.asymmetricKeyType} are not accepted. Use Ed25519 or RSA.`);
}

/** Keys by address, looked up by `kid`; fetched when needed, at most every 30 s. */
export function remoteKeySet(url: string): VerificationKey {
  return {
    key: createRemoteJWKSet(new URL(url), {
      timeoutDuration: 5000,
      cooldownDuration: 30_000,
      cacheMaxAge: 600_000,
    }),
    algorithms: ["EdDSA", "Ed25519", "RS256"],
    kid: null,
  };
}

/** What the settings say; throws `SettingsError` when they say nothing. */
export function verificationKey(settings: Settings): VerificationKey {
  if (settings.jwtPublicKey !== null) {
    const key = parsePublicKey(settings.jwtPublicKey);
    return { ...key, kid: settings.jwtKid ?? key.kid };
  }
  if (settings.jwtJwksUrl !== null) return remoteKeySet(settings.jwtJwksUrl);
  throw new SettingsError([
    "KERNELYARD_JWT_PUBLIC_KEY: KERNELYARD_AUTH asks for tokens and there is no key that verifies them. Set it or KERNELYARD_JWT_JWKS_URL, or start with `npm start`, which makes a pair.",
  ]);
}

/** The caller hears no more than this; the log says why. */
const invalid = (why: string): AuthDecision => refused(401, "Invalid bearer token", why);
const REQUIRED: AuthDecision = refused(
  401,
  "Bearer token is required",
  "the Authorization header holds no bearer token",
);

/** As the token says; undefined where it says nothing. */
function kidOf(token: string): unknown {
  try {
    return decodeProtectedHeader(token).kid;
  } catch {
    return undefined;
  }
}

/** The key set could not be had: the fault is not the caller's. */
function keySetIsAway(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout) return true;
  if (error instanceof errors.JOSEError) {
    // The generic code stands for an answer other than 200, or for no JSON.
    return error.code === "ERR_JOSE_GENERIC" || error instanceof errors.JWKSInvalid;
  }
  return error instanceof TypeError && error.message === "fetch failed";
}

interface Remembered {
  readonly decision: AuthDecision;
  readonly expiresAtMs: number;
}

export class JwtAuthenticator implements Authenticator {
  readonly #verification: VerificationKey;
  readonly #rules: TokenRules;
  /** Verified ones only, oldest first: the whole token is compared, so a changed one is never found. */
  readonly #remembered = new Map<string, Remembered>();

  constructor(verification: VerificationKey, rules: TokenRules) {
    this.#verification = verification;
    this.#rules = rules;
  }

  authenticate(header: HeaderReader): AuthDecision | Promise<AuthDecision> {
    const value = header("authorization");
    if (value === undefined) return ABSENT;
    const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(value)?.[1];
    if (token === undefined) return REQUIRED;
    if (token.length > LONGEST_TOKEN) return invalid(`it is longer than ${LONGEST_TOKEN} characters`);
    const remembered = this.#remembered.get(token);
    if (remembered !== undefined) {
      if (remembered.expiresAtMs > Date.now()) return remembered.decision;
      this.#remembered.delete(token);
    }
    return this.#verify(token);
  }

  async #verify(token: string): Promise<AuthDecision> {
    const kid = kidOf(token);
    const { key, algorithms, kid: expected } = this.#verification;
    if (typeof kid !== "string" || kid === "" || (expected !== null && kid !== expected)) {
      return invalid(unknownKid(kid, expected));
    }
    const options = {
      algorithms: [...algorithms],
      issuer: this.#rules.issuer,
      audience: this.#rules.audience,
      clockTolerance: CLOCK_TOLERANCE_S,
      maxTokenAge: this.#rules.maxLifetimeS,
      requiredClaims: ["sub", "jti", "iat", "nbf", "exp", "principal_source", "auth_context_hash"],
    };
    try {
      const verified =
        typeof key === "function"
          ? await jwtVerify(token, key, options)
          : await jwtVerify(token, key, options);
      const claims = Claims.safeParse(verified.payload);
      if (!claims.success) {
        return invalid(`the claim "${claims.error.issues[0]?.path.join(".")}" is not as LibreChat writes it`);
      }
      const { sub, exp, iat, tenant_id = DEFAULT_TOKEN_TENANT } = claims.data;
      const { maxLifetimeS } = this.#rules;
      if (exp <= iat || exp - iat > maxLifetimeS) {
        return invalid(
          `it is good for ${exp - iat} s; at most ${maxLifetimeS} s are accepted: compare CODEAPI_JWT_TTL_SECONDS and KERNELYARD_JWT_MAX_LIFETIME_S`,
        );
      }
      const principal: Principal = {
        mode: "jwt",
        tenant: tokenTenant(tenant_id),
        subject: sub,
        claims: claims.data,
      };
      return this.#remember(token, { kind: "accepted", principal }, exp);
    } catch (error) {
      if (keySetIsAway(error)) return refused(503, "The key set that verifies tokens cannot be reached");
      if (error instanceof errors.JOSEError || error instanceof TypeError) {
        return invalid(whyRefused(error, kid, Math.floor(Date.now() / 1000), this.#rules));
      }
      throw error;
    }
  }

  #remember(token: string, decision: AuthDecision, exp: number): AuthDecision {
    if (this.#remembered.size >= REMEMBERED_TOKENS) {
      const oldest = this.#remembered.keys().next();
      if (!oldest.done) this.#remembered.delete(oldest.value);
    }
    this.#remembered.set(token, { decision, expiresAtMs: (exp + CLOCK_TOLERANCE_S) * 1000 });
    return decision;
  }
}

export function createJwtAuthenticator(settings: Settings): JwtAuthenticator {
  return new JwtAuthenticator(verificationKey(settings), {
    issuer: settings.jwtIssuer,
    audience: settings.jwtAudience,
    maxLifetimeS: settings.jwtMaxLifetimeS,
  });
}
