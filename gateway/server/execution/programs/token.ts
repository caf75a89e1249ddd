/**
 * Continuation tokens: base64 of `{execution_id, ts}`, opaque to clients. The id has 126 random bits, and whoever sends
 * it must be the program's own caller: the token needs no signature.
 */
import { z } from "@hono/zod-openapi";

const Token = z.object({ execution_id: z.string().regex(/^[A-Za-z0-9_-]{21}$/), ts: z.number() });
const LONGEST_TOKEN = 1024;

export function encodeToken(executionId: string): string {
  return Buffer.from(JSON.stringify({ execution_id: executionId, ts: Date.now() })).toString("base64");
}

/** Null when it is no token of ours. */
export function decodeToken(token: string): string | null {
  if (token.length > LONGEST_TOKEN) return null;
  try {
    const parsed = Token.safeParse(JSON.parse(Buffer.from(token, "base64").toString("utf8")));
    return parsed.success ? parsed.data.execution_id : null;
  } catch {
    return null;
  }
}
