/**
 * Continuation tokens: base64 of `{execution_id, ts}`, and of several hosts the one that has the program; opaque to clients. The id has 126
 * random bits, whoever sends it must be the program's own caller, and a host is only ever one that the fleet knows: the token needs no
 * signature.
 */
import { z } from "@hono/zod-openapi";

const Token = z.object({
  execution_id: z.string().regex(/^[A-Za-z0-9_-]{21}$/),
  ts: z.number(),
  host: z.string().optional(),
});
const LONGEST_TOKEN = 1024;

/** `host`: null where there is but one. */
export function encodeToken(executionId: string, host: string | null): string {
  const content = { execution_id: executionId, ts: Date.now(), ...(host === null ? {} : { host }) };
  return Buffer.from(JSON.stringify(content)).toString("base64");
}

/** Null when it is no token of ours. */
export function decodeToken(token: string): { readonly id: string; readonly host: string | null } | null {
  if (token.length > LONGEST_TOKEN) return null;
  try {
    const parsed = Token.safeParse(JSON.parse(Buffer.from(token, "base64").toString("utf8")));
    return parsed.success ? { id: parsed.data.execution_id, host: parsed.data.host ?? null } : null;
  } catch {
    return null;
  }
}
