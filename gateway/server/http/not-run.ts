/** Calls that did not run, as the errors that clients know. */
import type { NotRun } from "../execution/call.ts";
import { ServiceError } from "./errors.ts";

/** Set where nothing of a request has been looked at: another host of the fleet may send it again. */
export const NOT_RUN_HEADER = "x-kernelyard-not-run";

/** What another host of the fleet is told, which then asks again; no caller sees it. */
export const staleRoute = (why: string) =>
  new ServiceError("stale_route", `The call did not run here: ${why}`);

/** A running call may end at any time. */
const RETRY_AFTER_S = 2;

export function notRunError(outcome: NotRun): ServiceError {
  switch (outcome.kind) {
    case "busy":
      return new ServiceError("runtime_session_busy", `${outcome.message}; try again when it is done`);
    case "host_full":
      return new ServiceError(
        "rate_limited",
        "Calls run in all sandboxes that fit on this host; try again later or raise KERNELYARD_MEMORY_BUDGET",
        { retryAfterSeconds: RETRY_AFTER_S },
      );
    case "caller_full":
      return new ServiceError(
        "rate_limited",
        `${outcome.most} calls of this caller run, and one caller may run no more; try again when one has ended`,
        { retryAfterSeconds: RETRY_AFTER_S },
      );
    case "unavailable":
      return new ServiceError(
        outcome.error,
        outcome.message,
        outcome.error === "shutting_down" ? { text: "Service is shutting down" } : {},
      );
    case "unsupported_language":
      return unsupportedLanguage(outcome.language, outcome.supported);
    case "input_failed":
      return new ServiceError(
        "session_input_unavailable",
        `File \`${outcome.path}\` could not be put into the sandbox: ${outcome.message}`,
      );
    case "too_large":
      return new ServiceError("bad_request", outcome.message);
    case "fenced":
      return staleRoute("the session has another host by now");
    case "cancelled":
      // Nobody reads it: the caller hung up.
      return new ServiceError("shutting_down", "The call was cancelled");
  }
}

function unsupportedLanguage(language: string, supported: readonly string[]): ServiceError {
  const list = supported.length > 0 ? ` Supported here: ${supported.join(", ")}` : "";
  return new ServiceError("unsupported_language", `\`lang\` is not a language of this image.${list}`, {
    text: `Unsupported language: ${language}`,
  });
}
