/**
 * A host's certificate for the hop: signed by itself, made at every start, kept in memory. Nothing in it is trusted but its digest, which
 * the host's record in the directory has; so it says as little as X.509 allows (RFC 5280, RFC 8410).
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";

export interface Certificate {
  readonly keyPem: string;
  readonly certPem: string;
  /** Of the whole certificate, in hex. */
  readonly sha256: string;
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
}

const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const ED25519 = sequence(der(0x06, Buffer.from([0x2b, 0x65, 0x70])));
const COMMON_NAME = der(0x06, Buffer.from([0x55, 0x04, 0x03]));
const NAME = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from("kernelyard")))));
const VERSION_3 = der(0xa0, der(0x02, Buffer.from([2])));
/** Whose certificate it is does not depend on anybody's clock; the second is RFC 5280's "no end". */
const ALWAYS = sequence(der(0x17, Buffer.from("200101000000Z")), der(0x18, Buffer.from("99991231235959Z")));

export function makeCertificate(): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  // Positive, and without a leading zero.
  const serial = der(0x02, Buffer.concat([Buffer.from([0x01]), randomBytes(15)]));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const content = sequence(VERSION_3, serial, ED25519, NAME, ALWAYS, NAME, spki);
  const signature = der(0x03, Buffer.from([0]), sign(null, content, privateKey));
  const whole = sequence(content, ED25519, signature);
  const lines = whole.toString("base64").replaceAll(/.{64}/g, "$&\n");
  return {
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    certPem: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    sha256: createHash("sha256").update(whole).digest("hex"),
  };
}
