/**
 * Tenants as tokens name them (any string) → tenants as sandboxes and volumes name them (`TenantName`). One to one, and
 * never a tenant that an API key can name, so that neither can reach what the other one keeps.
 */
import { createHash } from "node:crypto";

/** Tenants of tokens begin like this; no API key may name one. */
export const TOKEN_TENANT_PREFIX = "jwt-";

/** Short plain names stay readable. One cannot begin with `-`, which is how digests are told apart. */
const PLAIN = /^[a-z0-9][a-z0-9-]{0,27}$/;
const DIGITS = "abcdefghijklmnopqrstuvwxyz234567";
/** 26 × 5 bits: two tenants never meet. */
const DIGEST_CHARACTERS = 26;

function shortDigest(text: string): string {
  const bytes = createHash("sha256").update(text, "utf8").digest();
  let digest = "";
  for (let i = 0; i < DIGEST_CHARACTERS; i++) {
    const bit = i * 5;
    const window = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    digest += DIGITS[(window >> (11 - (bit & 7))) & 31];
  }
  return digest;
}

export function tokenTenant(claimed: string): string {
  return PLAIN.test(claimed)
    ? `${TOKEN_TENANT_PREFIX}${claimed}`
    : `${TOKEN_TENANT_PREFIX}-${shortDigest(claimed)}`;
}
