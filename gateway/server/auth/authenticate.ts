/** A chain of ways to prove who is calling; the first that finds its credentials decides. */
import type { Settings } from "../../common/settings/read.ts";
import { AmbiguityGuard } from "./ambiguity.ts";
import { ApiKeyAuthenticator, parseApiKeys } from "./api-keys.ts";
import type { AuthDecision, Authenticator, HeaderReader } from "./authenticator.ts";
import { createJwtAuthenticator } from "./jwt.ts";
import { type AuthMode, SHARED_SUBJECT } from "./principal.ts";

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
