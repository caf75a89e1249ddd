/** Entries for tests of the audit log. */
import type { AuditEntry } from "../../gateway/server/audit/entry.ts";

export const entry = (subject: string, more: Partial<AuditEntry> = {}): AuditEntry => ({
  time: "2026-11-26T12:00:00.000Z",
  host: "host",
  request: `request-of-${subject}`,
  tenant: "jwt-t",
  subject,
  auth: "jwt",
  action: "execute",
  status: 200,
  error: null,
  duration_ms: 1,
  session: `session-of-${subject}`,
  language: "py",
  code_bytes: 1,
  code_sha256: `digest-of-${subject}`,
  outcome: "finished",
  reason: null,
  image: null,
  inputs: null,
  outputs: null,
  ...more,
});

export const line = (subject: string, more: Partial<AuditEntry> = {}): string =>
  `${JSON.stringify(entry(subject, more))}\n`;
