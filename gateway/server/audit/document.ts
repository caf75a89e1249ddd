/** `docs/audit.md`, made from the entry's schema by `npm run generate`. */
import { AuditEntry } from "./entry.ts";

export function auditDocument(): string {
  const rows = Object.entries(AuditEntry.shape).map(
    ([name, { description = "" }]) => `| \`${name}\` | ${description} |`,
  );
  return [
    "# Audit log",
    "",
    "Who did what, when, and what came of it: an entry for each request that ran code, ended something, or moved or removed a file. What was",
    "in it is nowhere: no code, no output, no names of files. Requests without a valid key or token are in the service's log and metrics alone.",
    "",
    "Files: `/var/lib/kernelyard/gateway/audit/audit-DATE.N.jsonl`, one JSON object a line, readable by the gateway's user alone. They are only",
    "ever appended to. A day or a sixteenth of `KERNELYARD_AUDIT_BYTES` begins a new one; files older than `KERNELYARD_AUDIT_DAYS` are removed, and",
    "the oldest before their time when all are larger than `KERNELYARD_AUDIT_BYTES`, which the gateway's log says. An empty line is where a process",
    "began to write again. Entries of a tenth of a second are written together; a killed process loses that. Entries that the disk refuses are lost and counted (`kernelyard_audit_lost_total`); calls are served all the same.",
    "",
    "Fields that do not apply are `null`.",
    "",
    "| field | |",
    "|---|---|",
    ...rows,
    "",
  ].join("\n");
}
