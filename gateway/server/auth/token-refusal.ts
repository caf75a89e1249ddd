/** Why a token was refused, for the operator's log: what to compare, and by how much. Claims are named of signed tokens only. */
import { errors } from "jose";

export interface Expectations {
  readonly issuer: string;
  readonly audience: string;
}

/** LibreChat makes a token when it needs one, and uses it for so long at most (`CODEAPI_JWT_MINT_CACHE_SECONDS`). */
const LIBRECHAT_REUSES_S = 30;
const LONGEST_SHOWN = 64;

/** Text out of a token, which anybody may have written. */
const shown = (value: unknown): string => (JSON.stringify(value) ?? "nothing").slice(0, LONGEST_SHOWN);

const seconds = (value: unknown): number => (typeof value === "number" ? Math.round(value) : Number.NaN);

function early(payload: Readonly<Record<string, unknown>>, now: number): string {
  const ahead = Math.max(seconds(payload.nbf) - now || 0, seconds(payload.iat) - now || 0);
  return `it was made ${ahead} s in the future: the clock here or LibreChat's is off by about ${ahead} s`;
}

function late(payload: Readonly<Record<string, unknown>>, now: number): string {
  const age = now - seconds(payload.iat);
  const expired = now - seconds(payload.exp);
  const since = expired > 0 ? `expired ${expired} s ago` : "is too old";
  return `it ${since}, made ${age} s ago; LibreChat uses a token for ${LIBRECHAT_REUSES_S} s, so the clock here or LibreChat's is off by about ${Math.max(0, age - LIBRECHAT_REUSES_S)} s unless a token was kept`;
}

function wrongClaim(
  error: errors.JWTClaimValidationFailed,
  now: number,
  { issuer, audience }: Expectations,
): string {
  const { claim, reason, payload } = error;
  if (reason === "missing") return `the claim "${claim}" is missing`;
  switch (claim) {
    case "nbf":
    case "iat":
      return early(payload, now);
    case "iss":
      return `its issuer is ${shown(payload.iss)}, not "${issuer}": compare CODEAPI_JWT_ISSUER and KERNELYARD_JWT_ISSUER`;
    case "aud":
      return `its audience is ${shown(payload.aud)}, not "${audience}": compare CODEAPI_JWT_AUDIENCE and KERNELYARD_JWT_AUDIENCE`;
    default:
      return `the claim "${claim}" is not as LibreChat writes it`;
  }
}

export function unknownKid(kid: unknown, expected: string | null): string {
  const named = typeof kid === "string" && kid !== "" ? `unknown kid ${shown(kid)}` : "no kid";
  return expected === null
    ? `${named}: the key set at KERNELYARD_JWT_JWKS_URL does not have it`
    : `${named}: the key here is "${expected}"; set CODEAPI_JWT_KID in LibreChat, or KERNELYARD_JWT_KID here`;
}

/** `now`: seconds since the epoch. */
export function whyRefused(error: unknown, kid: unknown, now: number, expected: Expectations): string {
  if (error instanceof errors.JWTExpired) return late(error.payload, now);
  if (error instanceof errors.JWTClaimValidationFailed) return wrongClaim(error, now, expected);
  if (error instanceof errors.JWKSNoMatchingKey) return unknownKid(kid, null);
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return "another key signed it: CODEAPI_JWT_PRIVATE_KEY_BASE64 in LibreChat is not this service's pair";
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "its algorithm is not that of the key";
  return "it is no token of LibreChat's kind";
}
