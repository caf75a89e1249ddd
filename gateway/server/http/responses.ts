/** What the descriptions of all routes share. */
import { ErrorEnvelope } from "./errors.ts";

/** Either proves who is calling. */
export const SECURITY = [{ apiKey: [] }, { bearer: [] }];

export const errorResponse = (description: string) => ({
  description,
  content: { "application/json": { schema: ErrorEnvelope } },
});
