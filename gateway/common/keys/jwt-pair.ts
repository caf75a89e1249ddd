/**
 * The key pair between LibreChat and this service. LibreChat signs with the private key (Ed25519, PKCS#8 PEM as base64);
 * the gateway only ever gets the public one.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { join } from "node:path";
import { readSecret, writeSecret } from "./secret-file.ts";

export interface JwtPair {
  readonly privateKeyPem: string;
  readonly publicKeyPem: string;
  /** Names the pair in every token: a digest of the public key, so that it changes when the pair does. */
  readonly kid: string;
}

export interface JwtKeys extends JwtPair {
  readonly path: string;
  /** True when this start made the pair: the only time its private half is printed. */
  readonly created: boolean;
}

export const PRIVATE_KEY_FILE = "librechat-jwt.pem";

const pem = (key: KeyObject, type: "pkcs8" | "spki") => key.export({ type, format: "pem" }).toString();

/** What LibreChat has to call the pair (`CODEAPI_JWT_KID`), unless the operator has a name of their own. */
export function keyId(publicKey: KeyObject): string {
  const digest = createHash("sha256").update(publicKey.export({ type: "spki", format: "der" }));
  return `kernelyard-${digest.digest("hex").slice(0, 16)}`;
}

function pairOf(privateKey: KeyObject): JwtPair {
  const publicKey = createPublicKey(privateKey);
  return {
    privateKeyPem: pem(privateKey, "pkcs8"),
    publicKeyPem: pem(publicKey, "spki"),
    kid: keyId(publicKey),
  };
}

export function newJwtPair(): JwtPair {
  return pairOf(generateKeyPairSync("ed25519").privateKey);
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

/**
 * Reads the pair in `directory`, or makes one. The private key stays there: the directory belongs to root and the
 * gateway's user cannot read it. Throws when the file is there but holds something else.
 */
export function ensureJwtKeys(directory: string): JwtKeys {
  const path = join(directory, PRIVATE_KEY_FILE);
  const present = readSecret(path);
  if (present !== null) return { ...pairOf(readPrivateKey(path, present)), path, created: false };
  const pair = newJwtPair();
  writeSecret(path, pair.privateKeyPem);
  return { ...pair, path, created: true };
}
