/** The closed set of errors: what the service says when it did not run the code, in one envelope. */
import { z } from "@hono/zod-openapi";

/** Code → HTTP status. Whatever the code of a caller did is no error: it is in the result. */
export const ERROR_STATUS = {
  bad_request: 400,
  unsupported_language: 400,
  invalid_execution_profile: 400,
  ambiguous_authentication: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  request_timeout: 408,
  runtime_session_busy: 409,
  execution_profile_mismatch: 409,
  unsupported_capability: 409,
  conflict: 409,
  payload_too_large: 413,
  session_input_too_large: 413,
  being_erased: 409,
  stale_route: 421,
  session_input_unavailable: 422,
  rate_limited: 429,
  internal_error: 500,
  sandbox_failed: 503,
  engine_unavailable: 503,
  launcher_unavailable: 503,
  authentication_unavailable: 503,
  shutting_down: 503,
  fleet_unavailable: 503,
  host_lost_during_call: 503,
  storage_full: 507,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;
export type ErrorStatus = (typeof ERROR_STATUS)[ErrorCode];

export const ErrorEnvelope = z
  .object({
    error: z.string().openapi({
      description:
        "The error's code; a sentence where LibreChat's clients know one, then `code` is beside it.",
      example: "bad_request",
    }),
    message: z.string().openapi({ description: "What happened, which field, what to do." }),
    code: z.string().optional(),
    retry_after_seconds: z.number().int().optional(),
    expected_profile: z.string().optional(),
    actual_profile: z.string().optional(),
  })
  .openapi("Error");

export interface ErrorDetails {
  /** The reference's words in `error`, where clients or people compare them. */
  readonly text?: string;
  readonly retryAfterSeconds?: number;
  readonly extra?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export class ServiceError extends Error {
  override readonly name = "ServiceError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }

  get status(): ErrorStatus {
    return ERROR_STATUS[this.code];
  }

  body(): z.infer<typeof ErrorEnvelope> {
    const { text, retryAfterSeconds, extra } = this.details;
    return {
      error: text ?? this.code,
      message: this.message,
      ...(text === undefined ? {} : { code: this.code }),
      ...(retryAfterSeconds === undefined ? {} : { retry_after_seconds: retryAfterSeconds }),
      ...extra,
    };
  }

  headers(): Record<string, string> {
    const { retryAfterSeconds, headers } = this.details;
    return {
      ...(retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) }),
      ...headers,
    };
  }
}
