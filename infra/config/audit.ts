/** The audit log's bucket of a stack. It is the operator's own, and outlives the stack; the store is that of the files. Pure. */
import { SETTINGS } from "../../gateway/common/settings/schema.ts";
import type { KeyReader } from "./problems.ts";
import { KEYS } from "./schema.ts";
import type { CommonConfig } from "./stack-config.ts";

/** Read by the gateway alone; the launcher would miss what belongs to them. */
export const AUDIT_BUCKET_SETTINGS = ["KERNELYARD_AUDIT_S3_BUCKET", "KERNELYARD_AUDIT_S3_PREFIX"] as const;

export interface AuditBucket {
  readonly bucket: string;
  /** Of every object; ends in `/`. */
  readonly under: string;
}

/** Null: the log is on the hosts alone. */
export function auditBucket({ settings }: Pick<CommonConfig, "settings">): AuditBucket | null {
  const { KERNELYARD_AUDIT_S3_BUCKET: bucket, KERNELYARD_AUDIT_S3_PREFIX: given } = settings;
  if (bucket === undefined) return null;
  const prefix = given === undefined ? "" : SETTINGS.KERNELYARD_AUDIT_S3_PREFIX.schema.parse(given);
  return { bucket, under: `${prefix}audit/` };
}

/** Of a stack in AWS: its lifecycle removes everything after days, and it goes with the stack. */
const BUCKET_OF_FILES = /^kernelyard-.*-files-/;

/** `store`: the stack's gateways have one, with credentials. */
export function checkAuditBucket(
  common: CommonConfig,
  keys: KeyReader,
  store: boolean,
  remedy: string,
): void {
  const audit = auditBucket(common);
  if (audit === null) return;
  if (BUCKET_OF_FILES.test(audit.bucket)) {
    keys.problem(
      KEYS.settings,
      `(KERNELYARD_AUDIT_S3_BUCKET) is ${audit.bucket}, a stack's bucket of files, which keeps nothing for long`,
      "make a bucket of your own for the audit log",
    );
  }
  if (store) return;
  keys.problem(
    KEYS.settings,
    "(KERNELYARD_AUDIT_S3_BUCKET) names a bucket, and the stack's gateways have no credentials of a store",
    `${remedy}, or remove it`,
  );
}
