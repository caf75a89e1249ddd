/** API keys: kept as SHA-256 digests, each belongs to a tenant. Keys are long and random, so one hash is enough. */
import { createHash, timingSafeEqual } from "node:crypto";
import { DEFAULT_TENANT, TenantName } from "../../common/protocol/launcher-api.ts";
import { SettingsError } from "../../common/settings/read.ts";
import { ABSENT, type AuthDecision, type Authenticator, type HeaderReader, refused } from "./authenticate.ts";
import { SHARED_SUBJECT } from "./principal.ts";
import { TOKEN_TENANT_PREFIX } from "./token-tenant.ts";

/** Shorter keys can be guessed. */
const SHORTEST_KEY = 16;
const LONGEST_KEY = 512;

export interface ApiKey {
  readonly tenant: string;
  readonly sha256: Buffer;
}

const digest = (key: string): Buffer => createHash("sha256").update(key).digest();

function parseApiKey(entry: string, position: number): ApiKey | string {
  const where = `KERNELYARD_API_KEYS: entry ${position}`;
  const separator = entry.indexOf("=");
  // A bare key may end in `=` (base64); a tenant is lower case and comes before something.
  const named = separator > 0 && separator < entry.length - 1 && !/^=+$/.test(entry.slice(separator));
  const tenant = named ? entry.slice(0, separator) : DEFAULT_TENANT;
  const key = named ? entry.slice(separator + 1) : entry;
  if (!TenantName.safeParse(tenant).success) {
    return `${where} names a tenant that is not lower case letters, digits and \`-\` (at most 32). Rename it.`;
  }
  if (tenant.startsWith(TOKEN_TENANT_PREFIX)) {
    return `${where} names a tenant that begins with \`${TOKEN_TENANT_PREFIX}\`, which is kept for tenants of tokens. Rename it.`;
  }
  if (key.startsWith("sha256:")) {
    const hex = key.slice("sha256:".length);
    if (!/^[0-9a-f]{64}$/i.test(hex)) {
      return `${where} has a \`sha256:\` value that is not 64 hexadecimal digits. Use the digest of the key.`;
    }
    return { tenant, sha256: Buffer.from(hex, "hex") };
  }
  if (key.length < SHORTEST_KEY) {
    return `${where} is shorter than ${SHORTEST_KEY} characters. Use a long random key, for example from \`openssl rand -hex 32\`.`;
  }
  return { tenant, sha256: digest(key) };
}

/** Reads `KEY`, `TENANT=KEY` and `TENANT=sha256:HEX`, separated by commas. Throws `SettingsError`. */
export function parseApiKeys(text: string | null): readonly ApiKey[] {
  const entries = (text ?? "")
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry.length > 0);
  if (entries.length === 0) {
    throw new SettingsError([
      "KERNELYARD_API_KEYS: KERNELYARD_AUTH asks for API keys and there is none. Set a key, or start with `npm start`, which makes one.",
    ]);
  }
  const keys: ApiKey[] = [];
  const problems: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const parsed = parseApiKey(entry, index + 1);
    if (typeof parsed === "string") problems.push(parsed);
    else keys.push(parsed);
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
    if (key.length > LONGEST_KEY) return refused(401, "Invalid API key");
    const presented = digest(key);
    let tenant: string | null = null;
    // All keys are compared, so that the time tells nothing about which one was near.
    for (const candidate of this.#keys) {
      if (timingSafeEqual(candidate.sha256, presented)) tenant = candidate.tenant;
    }
    if (tenant === null) return refused(401, "Invalid API key");
    return { kind: "accepted", principal: { mode: "api-key", tenant, subject: SHARED_SUBJECT } };
  }
}
