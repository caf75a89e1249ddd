/** The copy of the audit log that the settings ask for. */
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { Settings } from "../../../common/settings/read.ts";
import { AuditCopy } from "./copy.ts";

/** For the store's client to load what it loads late; whether the bucket answers is the copy's to say, and to try again. */
const LOADED_WITHIN_MS = 5_000;

export type OpenAuditCopy = (directory: string, log: Logger) => AuditCopy;

/**
 * Null: there is none. Loads all code, which must happen before privileges are dropped. A bucket that does not answer keeps
 * nobody from starting: calls are served without it.
 */
export async function loadAuditCopy(settings: Settings): Promise<OpenAuditCopy | null> {
  const { auditS3Bucket: bucket, auditS3Prefix, s3Endpoint, s3Region } = settings;
  if (bucket === null) return null;
  const { S3AuditObjects } = await import("./s3.ts");
  const objects = new S3AuditObjects({
    bucket,
    prefix: auditS3Prefix ?? "",
    region: s3Region ?? "us-east-1",
    endpoint: s3Endpoint ?? undefined,
  });
  const signal = AbortSignal.timeout(LOADED_WITHIN_MS);
  await objects.open("audit/", { signal }).catch(() => {});
  const place = `${bucket} at ${s3Endpoint ?? `region ${s3Region}`}`;
  return (directory, log) => {
    const copy = new AuditCopy({
      directory,
      host: hostname(),
      objects,
      now: Date.now,
      onProblem: (problem) => {
        if (problem === null) log.info("the audit log is copied to its bucket again");
        else
          log.error(
            { problem },
            `the audit log is not copied to the bucket ${place}, which is tried again: check KERNELYARD_AUDIT_S3_BUCKET, KERNELYARD_S3_REGION and KERNELYARD_S3_ENDPOINT, and that the credentials of AWS's default chain may list, read and write there`,
          );
      },
      onLost: (name) =>
        log.error({ name }, "a file of the audit log went from the disk before its bucket had all of it"),
    });
    copy.start();
    return copy;
  };
}
