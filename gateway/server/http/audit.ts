/** What the audit log is told of a request: handlers say which files and code, the rest is known of every request. */
import { hash } from "node:crypto";
import { hostname } from "node:os";
import { type AuditEntry, type Audited, auditedFiles } from "../audit/entry.ts";
import type { AppContext } from "./context.ts";

const HOST = hostname();

/** Adds to what was said of this request before. */
export function audited(c: AppContext, more: Audited): void {
  c.set("audited", { ...c.get("audited"), ...more });
}

export interface Answer {
  readonly status: number;
  readonly startedAt: number;
  readonly ms: number;
  readonly image: string | null;
}

/** Null: nobody is known to have asked, or for nothing that is audited. */
export function auditEntry(c: AppContext, { status, startedAt, ms, image }: Answer): AuditEntry | null {
  const { action = c.get("action"), session, code, inputs, outputs } = c.get("audited") ?? {};
  const facts = c.get("facts");
  const { tenant, auth } = facts;
  if (action === null || tenant === undefined) return null;
  const text = (fact: string) => (typeof facts[fact] === "string" ? facts[fact] : null);
  return {
    time: new Date(startedAt).toISOString(),
    host: HOST,
    request: c.get("requestId"),
    tenant: String(tenant),
    subject: c.get("principal").subject,
    auth: String(auth),
    action,
    status,
    error: text("error"),
    duration_ms: Math.round(ms * 100) / 100,
    session: session ?? text("runtime_session") ?? text("session"),
    language: text("lang"),
    code_bytes: code?.length ?? null,
    code_sha256: code === undefined ? null : hash("sha256", code, "hex"),
    outcome: text("outcome"),
    reason: text("reason"),
    image,
    inputs: inputs === undefined ? null : auditedFiles(inputs),
    outputs: outputs === undefined ? null : auditedFiles(outputs),
  };
}
