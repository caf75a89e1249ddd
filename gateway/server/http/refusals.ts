/** What cannot be done with a file, as the errors that clients know. */
import type { AccessRefusal } from "../files/access.ts";
import { FileStoreError } from "../files/store.ts";
import { ServiceError } from "./errors.ts";

const RETRY_AFTER_S = 5;

const CODES = {
  400: "bad_request",
  403: "forbidden",
  404: "not_found",
  413: "payload_too_large",
} as const;

export function refusalError(refusal: {
  readonly status: AccessRefusal["status"] | 413;
  readonly error: string;
}): ServiceError {
  const message =
    refusal.status === 404 ? "It was never there, was deleted, or its time is over" : refusal.error;
  return new ServiceError(CODES[refusal.status], message, {
    text: refusal.error,
    ...(refusal.status === 404 ? { extra: { details: message } } : {}),
  });
}

/** What the store could not do, as an answer; null: nothing that concerns a client. */
export function storeFailure(error: unknown): ServiceError | null {
  if (!(error instanceof FileStoreError)) return null;
  switch (error.code) {
    case "too_large":
      return new ServiceError("payload_too_large", error.message, { text: "File size limit exceeded" });
    case "storage_full":
      return new ServiceError("storage_full", error.message);
    case "busy":
      return new ServiceError("rate_limited", error.message, { retryAfterSeconds: RETRY_AFTER_S });
    case "closed":
      return new ServiceError("shutting_down", error.message, { text: "Service is shutting down" });
    default:
      return null;
  }
}
