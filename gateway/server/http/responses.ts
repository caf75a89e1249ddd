/** What the descriptions of all routes share. */
import { ErrorEnvelope } from "./errors.ts";

/** Either proves who is calling. */
export const SECURITY = [{ apiKey: [] }, { bearer: [] }];

/** Whoever runs the service. */
export const OPERATOR_SECURITY = [{ operatorKey: [] }];

export const errorResponse = (description: string) => ({
  description,
  content: { "application/json": { schema: ErrorEnvelope } },
});

export const UNAUTHORIZED = errorResponse("No key or token, or a wrong one.");

export const UNAVAILABLE = errorResponse(
  "`engine_unavailable`, `launcher_unavailable`, `sandbox_failed`, `shutting_down`. Of several hosts: `fleet_unavailable` (nobody can say who has the session; the code did not run) and `host_lost_during_call` (its outcome is unknown, and it was not repeated).",
);

/** Of every route that runs code in a session. */
export const RUN_ERRORS = {
  401: UNAUTHORIZED,
  409: errorResponse("`runtime_session_busy`."),
  408: errorResponse("`request_timeout`: the body did not come in time."),
  413: errorResponse("The body exceeds 8 MiB, or has too many elements."),
  429: errorResponse("`rate_limited`: too many requests, or the host is full."),
  503: UNAVAILABLE,
};
