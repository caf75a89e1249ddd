/** A chain of ways to prove who is calling; the first that finds its credentials decides. */
import type { Settings } from "../../common/settings/read.ts";
import { AmbiguityGuard } from "./ambiguity.ts";
import { ApiKeyAuthenticator, parseApiKeys } from "./api-keys.ts";
import { createJwtAuthenticator } from "./jwt.ts";
import { type AuthMode, type Principal, SHARED_SUBJECT } from "./principal.ts";

/** Header lookup, case-insensitive. */
export type HeaderReader = (name: string) => string | undefined;

export interface AuthRefusal {
  /** 503: what verifies credentials is away. */
  readonly status: 400 | 401 | 403 | 503;
  readonly message: string;
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

export function refused(status: AuthRefusal["status"], message: string): AuthDecision {
  return { kind: "refused", refusal: { status, message } };
}

/** `none`: the network vouches for every caller; they are one principal. */
export class OpenAuthenticator implements Authenticator {
  readonly #decision: AuthDecision = {
    kind: "accepted",
    principal: { mode: "none", tenant: "default", subject: SHARED_SUBJECT },
  };

  authenticate(): AuthDecision {
    return this.#decision;
  }
}

/** What a caller without any credentials is told. */
function missing(modes: readonly AuthMode[]): string {
  if (!modes.includes("jwt")) return "An API key is required in the X-API-Key header";
  // The reference's words; clients of both generations know them.
  return "Bearer token is required";
}

export class Authentication {
  readonly #modes: readonly AuthMode[];
  readonly #chain: readonly Authenticator[];

  constructor(modes: readonly AuthMode[], chain: readonly Authenticator[]) {
    this.#modes = modes;
    this.#chain = chain;
  }

  async decide(header: HeaderReader): Promise<Exclude<AuthDecision, { kind: "absent" }>> {
    for (const authenticator of this.#chain) {
      const answer = authenticator.authenticate(header);
      const decision = answer instanceof Promise ? await answer : answer;
      if (decision.kind !== "absent") return decision;
    }
    return { kind: "refused", refusal: { status: 401, message: missing(this.#modes) } };
  }
}

/** The chain that the settings ask for, most specific first. Throws `SettingsError` when keys are unusable. */
export function createAuthentication(settings: Settings): Authentication {
  if (settings.auth.includes("none")) return new Authentication(settings.auth, [new OpenAuthenticator()]);
  const chain: Authenticator[] = [];
  if (settings.auth.includes("jwt")) chain.push(new AmbiguityGuard());
  if (settings.auth.includes("api-key")) {
    chain.push(new ApiKeyAuthenticator(parseApiKeys(settings.apiKeys)));
  }
  if (settings.auth.includes("jwt")) chain.push(createJwtAuthenticator(settings));
  return new Authentication(settings.auth, chain);
}
