/** Callers known by their API key, each of a tenant. Only digests are kept. */
import { timingSafeEqual } from "node:crypto";
import { type ApiKey, keyDigest, keyEntries, readKeyEntry } from "../../common/keys/api-key.ts";
import { SettingsError } from "../../common/settings/read.ts";
import {
  ABSENT,
  type AuthDecision,
  type Authenticator,
  type HeaderReader,
  refused,
} from "./authenticator.ts";
import { SHARED_SUBJECT } from "./principal.ts";
import { TOKEN_TENANT_PREFIX } from "./token-tenant.ts";

const LONGEST_KEY = 512;
const UNKNOWN = refused(
  401,
  "Invalid API key",
  "the X-API-Key header holds no key of KERNELYARD_API_KEYS: compare LIBRECHAT_CODE_API_KEY",
);

function acceptedKey(entry: string): ApiKey | string {
  const key = readKeyEntry(entry);
  if (typeof key === "string" || !key.tenant.startsWith(TOKEN_TENANT_PREFIX)) return key;
  return `names a tenant that begins with \`${TOKEN_TENANT_PREFIX}\`, which is kept for tenants of tokens. Rename it.`;
}

/** Reads `KERNELYARD_API_KEYS`. Throws `SettingsError`. */
export function parseApiKeys(setting: string | null): readonly ApiKey[] {
  const entries = keyEntries(setting);
  if (entries.length === 0) {
    throw new SettingsError([
      "KERNELYARD_API_KEYS: KERNELYARD_AUTH asks for API keys and there is none. Set a key, or start with `npm start`, which makes one.",
    ]);
  }
  const keys: ApiKey[] = [];
  const problems: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const key = acceptedKey(entry);
    if (typeof key === "string") problems.push(`KERNELYARD_API_KEYS: entry ${index + 1} ${key}`);
    else keys.push(key);
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return keys;
}

export class ApiKeyAuthenticator implements Authenticator {
  readonly #keys: readonly ApiKey[];

  constructor(keys: readonly ApiKey[]) {
    this.#keys = keys;
  }

  authenticate(header: HeaderReader): AuthDecision {
    const key = header("x-api-key");
    if (key === undefined) return ABSENT;
    if (key.length > LONGEST_KEY) return UNKNOWN;
    const presented = keyDigest(key);
    let tenant: string | null = null;
    // All keys are compared, so that the time tells nothing about which one was near.
    for (const candidate of this.#keys) {
      if (timingSafeEqual(candidate.sha256, presented)) tenant = candidate.tenant;
    }
    if (tenant === null) return UNKNOWN;
    return { kind: "accepted", principal: { mode: "api-key", tenant, subject: SHARED_SUBJECT } };
  }
}
