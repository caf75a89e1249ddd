/** One way to prove who is calling, and what it may decide. */
import type { Principal } from "./principal.ts";

/** Header lookup, case-insensitive. */
export type HeaderReader = (name: string) => string | undefined;

export interface AuthRefusal {
  /** 503: what verifies credentials is away. */
  readonly status: 400 | 401 | 403 | 503;
  readonly message: string;
  /** For the operator's log alone: what was wrong, and what to look at. Never a credential. */
  readonly why?: string | undefined;
}

export type AuthDecision =
  | { readonly kind: "accepted"; readonly principal: Principal }
  /** The request carries nothing this authenticator understands: the next one is asked. */
  | { readonly kind: "absent" }
  | { readonly kind: "refused"; readonly refusal: AuthRefusal };

export interface Authenticator {
  authenticate(header: HeaderReader): AuthDecision | Promise<AuthDecision>;
}

export const ABSENT: AuthDecision = { kind: "absent" };

export function refused(status: AuthRefusal["status"], message: string, why?: string): AuthDecision {
  return { kind: "refused", refusal: { status, message, ...(why === undefined ? {} : { why }) } };
}
