/** Who is calling. Everything a call may reach is derived from this and from nothing else in the request. */

export type AuthMode = "api-key" | "jwt" | "none";

export interface Principal {
  readonly mode: AuthMode;
  /** Isolation boundary between customers. API keys name it in the settings, tokens carry it. */
  readonly tenant: string;
  /** The user within the tenant. API keys have none of their own: one subject for all keys of a tenant. */
  readonly subject: string;
  /** Set for tokens only: the `role`, `org_id` … that the issuer vouched for. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** Subject of callers that a key or the network vouches for, without naming a user. */
export const SHARED_SUBJECT = "-";

/** The caller as one string, the same for the same principal only: for limits, logs and lookups. */
export function principalKey(principal: Principal): string {
  return JSON.stringify([principal.mode, principal.tenant, principal.subject]);
}

/** Whom something is about that lasts: a user of tokens, or (null) all of a tenant, its keys and its users. */
export interface Subject {
  readonly tenant: string;
  readonly user: string | null;
}

/** `key`: what `principalKey` made. */
export function isOf(key: string, { tenant, user }: Subject): boolean {
  const [mode, of, subject]: unknown[] = JSON.parse(key);
  return of === tenant && (user === null || (mode === "jwt" && subject === user));
}

/** Likewise. */
export function tenantOf(key: string): string {
  const [, tenant]: unknown[] = JSON.parse(key);
  return String(tenant);
}

/** The principal of a token's user. */
export function userPrincipal(tenant: string, user: string): Principal {
  return { mode: "jwt", tenant, subject: user };
}

/** Whose share of something counts: of places, of memory, of storage. */
export interface Caller {
  readonly key: string;
  /** Speaks for many users. */
  readonly shared: boolean;
}

/** Who borrows a kernel: which image profile that has is set by tenant. */
export interface TenantCaller extends Caller {
  readonly tenant: string;
}

export function callerOf(principal: Principal): TenantCaller {
  return { key: principalKey(principal), shared: speaksForMany(principal), tenant: principal.tenant };
}

/** A key or a private network speaks for a whole LibreChat, a token for one user. */
export function speaksForMany({ mode }: Principal): boolean {
  return mode !== "jwt";
}
