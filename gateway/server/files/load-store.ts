/** Which store the settings ask for. */
import { join } from "node:path";
import type { Settings } from "../../common/settings/read.ts";
import { DiskFileStore } from "./disk/store.ts";
import type { FileStore } from "./store.ts";

/** Between two looks for files whose time is over and for what a killed process left. */
const DISK_SWEEP_MS = 600_000;
/** A sweep lists the whole bucket, a request per thousand objects, from every gateway. */
const S3_SWEEP_MS = 3_600_000;

type OpenFiles = (onSweepError: (error: unknown) => void) => Promise<FileStore>;

/**
 * Loads the store's code, which must happen before privileges are dropped: the code may be root's alone. What it returns
 * opens the store, which must happen after. The S3 client is only loaded where it is used, and then connects at once,
 * because it loads parts of itself when it first needs them.
 */
export async function loadFileStore(settings: Settings): Promise<OpenFiles> {
  const { fileTtlMs: ttlMs, s3Bucket } = settings;
  if (settings.fileStore === "disk" || s3Bucket === null) {
    const directory = join(settings.dataDir, "gateway", "files");
    return (onSweepError) =>
      DiskFileStore.open({ directory, ttlMs, sweepEveryMs: DISK_SWEEP_MS, onSweepError });
  }
  const [{ connectS3 }, { S3FileStore }] = await Promise.all([
    import("./s3/bucket.ts"),
    import("./s3/store.ts"),
  ]);
  const place = {
    bucket: s3Bucket,
    prefix: settings.s3Prefix ?? "",
    region: settings.s3Region ?? "us-east-1",
    endpoint: settings.s3Endpoint ?? undefined,
  };
  const client = await connectS3(place);
  return async (onSweepError) =>
    new S3FileStore({ ...place, ttlMs, sweepEveryMs: S3_SWEEP_MS, onSweepError }, client);
}
