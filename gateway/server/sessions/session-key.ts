/** Which session a caller means. The principal is in every key: nobody names another one's session. */
import { hash } from "node:crypto";
import { DEFAULT_TENANT, type SessionKey } from "../../common/protocol/launcher-api.ts";
import { type Caller, type Principal, principalKey } from "../auth/principal.ts";

export type RuntimeSessionKey = Extract<SessionKey, { kind: "runtime" }>;

/** 21 characters of the runtime session's alphabet; 125 bits of the digest. */
function shortDigest(parts: readonly string[]): string {
  const digest = hash("sha256", JSON.stringify(parts), "base64url");
  return digest.replaceAll("_", "-").slice(0, 21);
}

/** LibreChat's runtime session: this caller's hint, and nobody else's. */
export function runtimeSessionKey(principal: Principal, hint: string): RuntimeSessionKey {
  return { kind: "runtime", digest: shortDigest(["hint", principalKey(principal), hint]) };
}

/** The specification's `session_id`. Keys and open networks own it by tenant; a token's user owns it alone. */
export function namedSessionKey(principal: Principal, name: string): SessionKey {
  if (principal.mode === "jwt") {
    return { kind: "runtime", digest: shortDigest(["name", principalKey(principal), name]) };
  }
  return {
    kind: "named",
    tenant: principal.mode === "none" ? DEFAULT_TENANT : principal.tenant,
    name,
  };
}

/** What several hosts call a session among themselves: nothing in it says whose it is. */
export function sessionDigest(key: SessionKey): string {
  return key.kind === "runtime" ? key.digest : shortDigest(["session", key.tenant, key.name]);
}

/** Whose session it is, for the launcher's labels. */
export function ownerOf({ key }: Caller): string {
  return shortDigest(["owner", key]);
}

/** Whose sessions are a tenant's, likewise. */
export function tenantDigest(tenant: string): string {
  return shortDigest(["tenant", tenant]);
}

/** The key as one string, the same for the same session only. */
export function keyText(key: SessionKey): string {
  return key.kind === "named" ? `n ${key.tenant} ${key.name}` : `r ${key.digest}`;
}
