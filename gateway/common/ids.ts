/**
 * Ids of sessions, files and sandboxes' calls: 21 characters `[A-Za-z0-9_-]`, 126 random bits. LibreChat's download
 * route accepts no other shape, and old clients cut ids at the first `.`.
 */
import { randomBytes } from "node:crypto";
import { z } from "@hono/zod-openapi";

const ID_PATTERN = /^[A-Za-z0-9_-]{21}$/;

export const Id = z.string().regex(ID_PATTERN, "must be 21 characters of A-Z a-z 0-9 _ -");

export function newId(): string {
  // 16 bytes are 22 characters, of which the last carries only two bits.
  return randomBytes(16).toString("base64url").slice(0, 21);
}

export function isId(text: string): boolean {
  return ID_PATTERN.test(text);
}
