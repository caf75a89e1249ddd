/** What went wrong while a request was served, as callers are told it and as the log has it. */
import { Erased } from "../erasure/erasure.ts";
import type { AppContext, AppDeps } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { storeFailure } from "./refusals.ts";

/** A stack begins with the message, of however many lines. */
function placesOf({ stack = "" }: Error): string[] {
  return stack
    .split("\n")
    .filter((line) => /^ {4}at .+(:\d+:\d+\)?|<anonymous>\)?)$/.test(line))
    .map((line) => line.trim());
}

/** Whatever went wrong then did because of that. */
export function isErased(c: AppContext): boolean {
  return c.get("gone").signal.reason instanceof Erased;
}

export const beingErased = () =>
  new ServiceError(
    "being_erased",
    "Everything of this user or tenant is being erased; the call did not run to its end",
    {
      headers: { Connection: "close" },
    },
  );

/** Also a fact of the request's log line. */
export function serviceErrorOf(error: unknown, c: AppContext, { log }: Pick<AppDeps, "log">): ServiceError {
  const known = isErased(c) ? beingErased() : error instanceof ServiceError ? error : storeFailure(error);
  if (known !== null) {
    c.get("facts").error = known.code;
    return known;
  }
  // Names and places are ours; a message may quote a body.
  const err = error instanceof Error ? { name: error.name, at: placesOf(error) } : { name: typeof error };
  log.error({ req: c.get("requestId"), err }, "unexpected error");
  return new ServiceError("internal_error", "Unexpected error; the log has it by request id", {
    text: "Internal server error",
  });
}

/** The status is out already: this one is what was meant. */
export function brokeOff(error: unknown, c: AppContext, deps: Pick<AppDeps, "log">): ServiceError {
  const failure = serviceErrorOf(error, c, deps);
  c.set("brokenOff", failure.status);
  return failure;
}
