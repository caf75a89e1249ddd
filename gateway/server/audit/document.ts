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
    "ever appended to. A day, or a sixteenth of `KERNELYARD_AUDIT_BYTES` (64 MiB at most), begins a new one; files older than `KERNELYARD_AUDIT_DAYS` are removed, and",
    "the oldest before their time when all are larger than `KERNELYARD_AUDIT_BYTES`, which the gateway's log says. An empty line is where a process",
    "began to write again. Entries of a tenth of a second are written together; a killed process loses that. Entries that the disk refuses are lost and counted (`kernelyard_audit_lost_total`); calls are served all the same.",
    "",
    "`KERNELYARD_AUDIT_S3_BUCKET` is a bucket with a copy of these files, for when the host is lost: `audit/HOST.ID/audit-DATE.N.jsonl`, a folder for",
    "each data directory. Files that have grown are put there every three minutes and at a stop, whole; what a killed process left is put by the next",
    "one. No call waits for it. A bucket that is away is tried again and is behind meanwhile (`kernelyard_audit_copy_age_seconds`, an alert). A directory",
    "that is restored from a backup begins a new folder, so that the bucket never has less than before. Objects are never removed: how long they stay is for",
    "the bucket's lifecycle rules. The credentials need `ListBucket` and `ListBucketMultipartUploads` on the bucket, `GetObject`, `PutObject` and",
    "`AbortMultipartUpload` on its objects.",
    "",
    "An [erasure](keeping.md#erase-a-user) reaches the bucket: files of the host that is asked, objects whose file is gone, and folders of other hosts, of lost",
    "ones too. Others that live put again what they have, so each is asked as well. The store must know `If-Match` on writes (AWS and most others",
    "do); what it refuses, or did not take in two minutes, the report says. A bucket with versions or an object lock keeps what was erased as long as its rules say.",
    "",
    "Fields that do not apply are `null`.",
    "",
    "| field | |",
    "|---|---|",
    ...rows,
    "",
  ].join("\n");
}
