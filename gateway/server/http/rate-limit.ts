/** Counting a request, and the 429 in the words that clients read. */
import type { RateDecision } from "../auth/rate-limits.ts";
import type { AppContext, AppDeps, Bucket } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { responseHeader } from "./response-header.ts";

/** The structured form where code runs, a sentence elsewhere: so the clients expect it. */
export function tooManyRequests(bucket: Bucket, rate: RateDecision): ServiceError {
  return new ServiceError("rate_limited", rate.message, {
    ...(bucket === "exec" ? {} : { text: rate.message }),
    retryAfterSeconds: rate.retryAfterSeconds,
    headers: rate.headers,
  });
}

/** Throws 429 when the caller has used up the window. */
export async function countRequest(c: AppContext, deps: AppDeps, bucket: Bucket): Promise<void> {
  // The host that forwarded it has counted it.
  if (deps.rateLimiter === null || c.get("hop") !== undefined) return;
  const rate = await deps.rateLimiter.admit(c.get("principal"), bucket);
  // The wide window is nobody's plan: it is told of when it is used up.
  if (bucket !== "request") {
    for (const [name, value] of Object.entries(rate.headers)) responseHeader(c, name, value);
  }
  if (!rate.allowed) throw tooManyRequests(bucket, rate);
}
