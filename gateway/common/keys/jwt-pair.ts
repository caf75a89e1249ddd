/**
 * The key pair between LibreChat and this service, and the text an operator pastes into LibreChat's environment.
 * LibreChat signs with the private key (Ed25519, PKCS#8 PEM as base64); the gateway only ever gets the public one.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface JwtKeys {
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
  /** Names the pair in every token: a digest of the public key, so that it changes when the pair does. */
  readonly kid: string;
  readonly path: string;
  /** True when this start made the pair: the only time its private half is printed. */
  readonly created: boolean;
}

export const PRIVATE_KEY_FILE = "librechat-jwt.pem";

const pem = (key: KeyObject, type: "pkcs8" | "spki") => key.export({ type, format: "pem" }).toString();

function keyId(publicKey: KeyObject): string {
  const digest = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" }));
  return `kernelyard-${digest.digest("hex").slice(0, 16)}`;
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

function readPrivateKey(path: string, text: string): KeyObject {
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below: the parser's own words may quote the file.
  }
  throw new Error(`${path} holds no Ed25519 private key: remove the file and start again.`);
}

/** Whole or not at all, and on the disk before the name is: a half-written key would lock LibreChat out. */
function writeSecret(path: string, text: string): void {
  const unfinished = `${path}.new`;
  const file = openSync(unfinished, "w", 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(unfinished, path);
}

/**
 * Reads the pair in `directory`, or makes one. The private key stays there, mode 0600: the directory belongs to root
 * and the gateway's user cannot read it. Throws when the file is there but holds something else.
 */
export async function ensureJwtKeys(directory: string): Promise<JwtKeys> {
  const path = join(directory, PRIVATE_KEY_FILE);
  const present = readIfThere(path);
  const privateKey =
    present === null ? generateKeyPairSync("ed25519").privateKey : readPrivateKey(path, present);
  const privateKeyPem = pem(privateKey, "pkcs8");
  if (present === null) writeSecret(path, privateKeyPem);
  const publicKey = createPublicKey(privateKey);
  return {
    privateKeyPem,
    publicKeyPem: pem(publicKey, "spki"),
    kid: keyId(publicKey),
    path,
    created: present === null,
  };
}

/** LibreChat's own defaults; a differing value has to be told to it. */
const LIBRECHAT_DEFAULTS = { issuer: "librechat", audience: "codeapi", lifetimeSeconds: 300 };

export interface LibrechatEnvironment {
  /** With `/v1`. */
  readonly baseUrl: string;
  /** For LibreChat 0.8.5 and older. Null: none, or not to be shown. */
  readonly apiKey: string | null;
  /** The generated pair. Null: the operator brought a key of their own, or tokens are off. */
  readonly jwt: Pick<JwtKeys, "privateKeyPem" | "kid" | "path" | "created"> | null;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  readonly maxLifetimeSeconds?: number | undefined;
}

/** The lines for LibreChat's `.env`. With neither key nor pair they are those of a private network. */
export function librechatEnvironment(options: LibrechatEnvironment): string {
  const { jwt } = options;
  const lines = [`LIBRECHAT_CODE_BASEURL=${options.baseUrl}`];
  if (jwt !== null) {
    lines.push("CODEAPI_JWT_ENABLED=true");
    lines.push(
      jwt.created
        ? `CODEAPI_JWT_PRIVATE_KEY_BASE64=${Buffer.from(jwt.privateKeyPem).toString("base64")}`
        : `# CODEAPI_JWT_PRIVATE_KEY_BASE64 was printed when the pair was made; again: base64 -w0 ${jwt.path}`,
    );
    lines.push(`CODEAPI_JWT_KID=${jwt.kid}`);
    const issuer = options.issuer ?? LIBRECHAT_DEFAULTS.issuer;
    if (issuer !== LIBRECHAT_DEFAULTS.issuer) lines.push(`CODEAPI_JWT_ISSUER=${issuer}`);
    const audience = options.audience ?? LIBRECHAT_DEFAULTS.audience;
    if (audience !== LIBRECHAT_DEFAULTS.audience) lines.push(`CODEAPI_JWT_AUDIENCE=${audience}`);
    const lifetime = options.maxLifetimeSeconds ?? LIBRECHAT_DEFAULTS.lifetimeSeconds;
    if (lifetime < LIBRECHAT_DEFAULTS.lifetimeSeconds) lines.push(`CODEAPI_JWT_TTL_SECONDS=${lifetime}`);
  }
  if (options.apiKey !== null) {
    if (jwt !== null) lines.push("# Only LibreChat 0.8.5 and older send this one:");
    lines.push(`LIBRECHAT_CODE_API_KEY=${options.apiKey}`);
  }
  return `${lines.join("\n")}\n`;
}
