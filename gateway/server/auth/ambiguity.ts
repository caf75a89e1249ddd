/** Two proofs of identity in one request: which one was meant is not ours to guess. */
import {
  ABSENT,
  type AuthDecision,
  type Authenticator,
  type HeaderReader,
  refused,
} from "./authenticator.ts";

/** First in the chain wherever tokens are accepted. The words are the reference's. */
export class AmbiguityGuard implements Authenticator {
  authenticate(header: HeaderReader): AuthDecision {
    return header("authorization") !== undefined && header("x-api-key") !== undefined
      ? refused(400, "Ambiguous authentication headers")
      : ABSENT;
  }
}
