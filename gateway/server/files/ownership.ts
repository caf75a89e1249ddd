/**
 * Who may use which file. Every file carries one owner key; a caller may read, list, delete or execute with it exactly
 * when the key that follows from who they are and what they claim (`kind`, `id`, `version`) is the same.
 *
 * Verified users (tokens): skill → the tenant's readers of that skill and version, agent → the tenant's users of that
 * agent, user → that user alone. Callers without a verified user (API key, private network) share their tenant's key:
 * unguessable ids are the capability there, since their requests name no user reliably.
 */
import { hash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { type Principal, principalKey, speaksForMany } from "../auth/principal.ts";

export const KINDS = ["skill", "agent", "user"] as const;
export type Kind = (typeof KINDS)[number];

export const ResourceId = z.string().regex(/^[A-Za-z0-9_.:-]{1,128}$/);

/** Who is calling. `user` is null when nobody vouched for one. */
export interface FileCaller {
  readonly tenant: string;
  readonly user: string | null;
}

export function fileCaller(principal: Principal): FileCaller {
  return { tenant: principal.tenant, user: principal.mode === "jwt" ? principal.subject : null };
}

/** On whose account a caller's files are: their own, whatever they say the files belong to. */
export function fileHolder(principal: Principal): {
  readonly key: string;
  readonly shared: boolean;
  readonly tenant: string;
} {
  const digest = hash("sha256", principalKey(principal), "base64url");
  return { key: digest.slice(0, 21), shared: speaksForMany(principal), tenant: principal.tenant };
}

/** What a request says a file belongs to. */
export type ResourceClaim =
  | { readonly kind: "user"; readonly id: string | null; readonly version: null }
  | { readonly kind: "agent"; readonly id: string; readonly version: null }
  | { readonly kind: "skill"; readonly id: string; readonly version: number };

export const USER_CLAIM: ResourceClaim = { kind: "user", id: null, version: null };

// Tenants and subjects come from tokens and may contain `:`; encoded, two different owners never share a key.
const part = (text: string): string => encodeURIComponent(text);

export function ownerKey(caller: FileCaller, claim: ResourceClaim): string {
  const tenant = part(caller.tenant);
  if (caller.user === null) return `${tenant}:shared`;
  switch (claim.kind) {
    case "skill":
      return `${tenant}:skill:${part(claim.id)}:v:${claim.version}`;
    case "agent":
      return `${tenant}:agent:${part(claim.id)}`;
    case "user":
      // The claimed id is informational: the verified subject decides.
      return `${tenant}:user:${part(caller.user)}`;
  }
}

/** The one rule. */
export function mayUse(caller: FileCaller, claim: ResourceClaim, owner: string): boolean {
  return ownerKey(caller, claim) === owner;
}

/** The rule for a file as found through a session: a link into an execution's session belongs to that session's user. */
export function mayUseFound(
  caller: FileCaller,
  claim: ResourceClaim,
  found: { readonly owner: string; readonly linked: boolean },
): boolean {
  return mayUse(caller, found.linked ? USER_CLAIM : claim, found.owner);
}

/** What the claim says in a record. */
export function claimColumns(claim: ResourceClaim): {
  kind: ResourceClaim["kind"];
  resourceId: string | null;
  version: number | null;
} {
  return { kind: claim.kind, resourceId: claim.id, version: claim.version };
}

export type ClaimResult =
  | { readonly ok: true; readonly claim: ResourceClaim }
  | { readonly ok: false; readonly error: string };

export interface ClaimFields {
  readonly kind?: string | undefined;
  readonly id?: string | undefined;
  readonly version?: string | number | undefined;
  /** Older clients: the agent's id. */
  readonly entity_id?: string | undefined;
}

const refuse = (error: string): ClaimResult => ({ ok: false, error });
const given = (text: string | undefined): string | null => (text === undefined || text === "" ? null : text);

/** Reads `kind`, `id`, `version` or the older `entity_id`, from a form, a query or a file reference. */
export function readClaim(fields: ClaimFields): ClaimResult {
  const id = given(fields.id);
  if (id !== null && !ResourceId.safeParse(id).success) return refuse("id is invalid");
  const kind = given(fields.kind);
  if (kind === null) {
    const entity = given(fields.entity_id);
    if (entity === null) return { ok: true, claim: { kind: "user", id, version: null } };
    if (!ResourceId.safeParse(entity).success) return refuse("entity_id is invalid");
    return { ok: true, claim: { kind: "agent", id: entity, version: null } };
  }
  switch (kind) {
    case "user":
      return { ok: true, claim: { kind, id, version: null } };
    case "agent":
      if (id === null) return refuse("id is required when kind is agent");
      return { ok: true, claim: { kind, id, version: null } };
    case "skill": {
      if (id === null) return refuse("id is required when kind is skill");
      const text = String(fields.version ?? "");
      if (!/^\d{1,15}$/.test(text)) return refuse("version must be a whole number when kind is skill");
      return { ok: true, claim: { kind, id, version: Number(text) } };
    }
    default:
      return refuse("kind must be one of: skill, agent, user");
  }
}
