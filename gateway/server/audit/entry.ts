/** One entry of the audit log: who did what, when, and what came of it. Never what was in it. */
import { z } from "@hono/zod-openapi";

export const AUDIT_ACTIONS = [
  "execute",
  "continue",
  "cancel",
  "interrupt",
  "restart",
  "forget",
  "upload",
  "download",
  "delete",
  "erase",
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** Ids beyond these are only counted. */
export const MOST_IDS = 100;

const Files = z.object({ count: z.number().int(), ids: z.array(z.string()) });
export type AuditedFiles = z.infer<typeof Files>;

export const AuditEntry = z.strictObject({
  time: z.string().describe("When the request came, in UTC."),
  host: z.string().describe("Name of the machine, or of the container."),
  request: z.string().describe("Its id, as in the log and in `X-Request-Id`."),
  tenant: z.string().describe("Whose key or token it was; `-operator`: the console's."),
  subject: z.string().describe("The token's user; `-` for a key."),
  auth: z
    .string()
    .describe(
      "How the caller proved it: `api-key`, `jwt`, `none`; `operator-key` for what was done in the console.",
    ),
  action: z.enum(AUDIT_ACTIONS).describe(AUDIT_ACTIONS.map((action) => `\`${action}\``).join(", ")),
  status: z.number().int().describe("HTTP status of the answer."),
  error: z.string().nullable().describe("Code of the service's error."),
  duration_ms: z.number().describe("From the request's head to the last byte of the answer."),
  session: z.string().nullable().describe("The session that it names, or the storage session of its files."),
  language: z.string().nullable().describe("Of the code."),
  code_bytes: z.number().int().nullable().describe("Length of the code, in UTF-16 units."),
  code_sha256: z.string().nullable().describe("Digest of the code: what ran can be recognised, not read."),
  outcome: z.string().nullable().describe("How the call went, as in the log."),
  reason: z.string().nullable().describe("Why the code was ended, when it was."),
  image: z.string().nullable().describe("Digest of the host's sandbox image at the time."),
  inputs: Files.nullable().describe(`Ids of files that went in: all are counted, ${MOST_IDS} listed.`),
  outputs: Files.nullable().describe("Likewise, of files that came out."),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

export function auditedFiles(ids: readonly string[]): AuditedFiles {
  return { count: ids.length, ids: ids.slice(0, MOST_IDS) };
}

/** What a handler knows of its request. */
export interface Audited {
  /** Where it is not the route's. */
  readonly action?: AuditAction;
  readonly session?: string;
  /** For its digest alone. */
  readonly code?: string;
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
}

/** In the place of whoever was erased. */
export const ERASED = "erased";

/** What happened, without who it was and what leads there: sessions, files, the code's digest. */
export function anonymous(entry: AuditEntry, tenantToo: boolean): AuditEntry {
  const uncounted = (files: AuditedFiles | null) => (files === null ? null : { count: files.count, ids: [] });
  return {
    ...entry,
    request: ERASED,
    subject: ERASED,
    ...(tenantToo ? { tenant: ERASED } : {}),
    session: null,
    code_sha256: null,
    inputs: uncounted(entry.inputs),
    outputs: uncounted(entry.outputs),
  };
}
