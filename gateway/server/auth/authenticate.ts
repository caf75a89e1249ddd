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

/** LibreChat sends one or the other by its own environment, and nothing without it. */
function whyAbsent(modes: readonly AuthMode[], header: HeaderReader): string {
  if (!modes.includes("api-key") && header("x-api-key") !== undefined) {
    return "an API key came, and KERNELYARD_AUTH accepts tokens only: set CODEAPI_JWT_ENABLED=true in LibreChat";
  }
  if (!modes.includes("jwt") && header("authorization") !== undefined) {
    return "a token came, and KERNELYARD_AUTH accepts API keys only";
  }
  return modes.includes("jwt")
    ? "no credentials: LibreChat 0.8.6 and newer sends a token with CODEAPI_JWT_ENABLED=true, older ones LIBRECHAT_CODE_API_KEY"
    : "no credentials: LibreChat 0.8.6 and newer never sends a key; KERNELYARD_AUTH=api-key,jwt accepts its tokens";
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
    const refusal = {
      status: 401,
      message: missing(this.#modes),
      why: whyAbsent(this.#modes, header),
    } as const;
    return { kind: "refused", refusal };
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
