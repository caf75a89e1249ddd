/** Which store the settings ask for. */
import { join } from "node:path";
import { DiskReserve } from "../../common/disk-space.ts";
import { gatewayMemory } from "../../common/gateway-memory.ts";
import type { Settings } from "../../common/settings/read.ts";
import { SteadyClock } from "../../common/steady-clock.ts";
import { MemoryBudget } from "../bounds/memory.ts";
import { BoundedFileStore, type StoreBounds } from "./bounded.ts";
import { DiskFileStore } from "./disk/store.ts";
import type { S3Workspaces } from "./s3/workspaces.ts";
import type { FileStore } from "./store.ts";

/** Between two looks for files whose time is over and for what a killed process left. */
const DISK_SWEEP_MS = 600_000;
/** A sweep lists the whole bucket, a request per thousand objects, from every gateway. */
const S3_SWEEP_MS = 3_600_000;

/** Blocks of a file that is written, and of the form or the sandbox that it comes from. */
const DISK_STAGE_BYTES = 1024 * 1024;

type OpenFiles = (
  onSweepError: (error: unknown) => void,
  onStored?: StoreBounds["onStored"],
) => Promise<FileStore>;

export interface Stores {
  readonly openFiles: OpenFiles;
  /** Where sessions' files are saved for other hosts, until the file store is closed; null: there are none, or the operator wants it off. */
  readonly workspaces: S3Workspaces | null;
}

/**
 * Loads the stores' code, which must happen before privileges are dropped: the code may be root's alone. `openFiles` opens the file
 * store, which must happen after. The S3 client is only loaded where it is used, and then connects at once, because it loads parts
 * of itself when it first needs them.
 */
export async function loadStores(settings: Settings): Promise<Stores> {
  const { fileTtlMs: ttlMs, s3Bucket } = settings;
  const bounds = {
    memory: new MemoryBudget(gatewayMemory(settings.gatewayMemoryBytes).transferBytes),
    perHolderBytes: settings.filesPerUserBytes,
    totalBytes: settings.filesTotalBytes,
  };
  if (settings.fileStore === "disk" || s3Bucket === null) {
    const directory = join(settings.dataDir, "gateway", "files");
    return {
      workspaces: null,
      async openFiles(onSweepError, onStored) {
        const store = await DiskFileStore.open({
          directory,
          ttlMs,
          sweepEveryMs: DISK_SWEEP_MS,
          onSweepError,
          now: new SteadyClock(join(settings.dataDir, "gateway", "last-seen")).now,
        });
        const reserve = new DiskReserve(directory, settings.diskReserveBytes);
        return new BoundedFileStore(store, { ...bounds, reserve, stageBytes: DISK_STAGE_BYTES, onStored });
      },
    };
  }
  const [{ connectS3 }, { S3FileStore }, { UPLOAD_BYTES }] = await Promise.all([
    import("./s3/bucket.ts"),
    import("./s3/store.ts"),
    import("./s3/upload.ts"),
  ]);
  const place = {
    bucket: s3Bucket,
    prefix: settings.s3Prefix ?? "",
    region: settings.s3Region ?? "us-east-1",
    endpoint: settings.s3Endpoint ?? undefined,
  };
  const client = await connectS3(place);
  const saves = settings.fleetUrl !== null && settings.workspaceCheckpoint !== "off";
  return {
    workspaces: saves ? new (await import("./s3/workspaces.ts")).S3Workspaces(place, client) : null,
    async openFiles(onSweepError, onStored) {
      const { now } = new SteadyClock(join(settings.dataDir, "gateway", "last-seen"));
      const store = new S3FileStore(
        { ...place, ttlMs, sweepEveryMs: S3_SWEEP_MS, onSweepError, now },
        client,
      );
      return new BoundedFileStore(store, { ...bounds, reserve: null, stageBytes: UPLOAD_BYTES, onStored });
    },
  };
}
