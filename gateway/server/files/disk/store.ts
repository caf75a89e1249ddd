/**
 * `FileStore` on a directory:
 *
 *   records.db (-wal)   who owns what, see `records.ts`
 *   incoming/<id>       bytes on their way; never part of a file
 *   content/<c>/<id>    bytes of files; <c> is the id's first character
 *   reserve             space that is given back when deleting needs some on a full disk
 *
 * Order of a commit: bytes synchronised → renamed into `content` → directory synchronised → record → log synchronised.
 * Dying in between leaves content without a record, which the sweep removes; never a record without its bytes.
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, opendir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isId, newId } from "../../../common/ids.ts";
import { countTransfer } from "../../../common/transfer-memory.ts";
import {
  type ByteRange,
  type FileLink,
  type FileRecord,
  type FileStore,
  FileStoreError,
  type NewFile,
  type SessionFile,
  type StagedFile,
  type SweepResult,
} from "../store.ts";
import { FileRecords, isDatabaseFull } from "./records.ts";

/** Bytes gathered before a write, and read at a time. */
const BLOCK_BYTES = 256 * 1024;
const RESERVE_BYTES = 1024 * 1024;
/** Files per step of a sweep; between steps other work gets its turn. */
const SWEEP_BATCH = 200;
const FAN_OUT = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"];

export interface DiskFileStoreOptions {
  readonly directory: string;
  /** Time after a file's last write when it is gone. */
  readonly ttlMs: number;
  /** Time between sweeps; the first one starts at once. Absent: only on `sweep()`. */
  readonly sweepEveryMs?: number;
  /** Told when a sweep in the background fails. */
  readonly onSweepError?: (error: unknown) => void;
  readonly now?: () => number;
}

export class DiskFileStore implements FileStore {
  readonly #directory: string;
  readonly #records: FileRecords;
  readonly #log: FileHandle;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Ids between the start of `stage` and the end of `commit` or `discard`: the sweep leaves them alone. */
  readonly #inFlight = new Set<string>();
  #logSync: Promise<void> = Promise.resolve();
  #nextLogSync: Promise<void> | null = null;
  #sweeping: Promise<SweepResult> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  private constructor(options: DiskFileStoreOptions, records: FileRecords, log: FileHandle) {
    this.#directory = options.directory;
    this.#records = records;
    this.#log = log;
    this.#ttlMs = options.ttlMs;
    this.#now = options.now ?? Date.now;
    if (options.sweepEveryMs !== undefined) {
      const run = () => {
        this.sweep().catch((error: unknown) => {
          if (!this.#closed) options.onSweepError?.(error);
        });
      };
      this.#timer = setInterval(run, options.sweepEveryMs).unref();
      run();
    }
  }

  /** Throws `FileStoreError` `in_use` when another process has the directory open. */
  static async open(options: DiskFileStoreOptions): Promise<DiskFileStore> {
    const { directory } = options;
    await mkdir(join(directory, "incoming"), { recursive: true, mode: 0o700 });
    for (const name of FAN_OUT) {
      await mkdir(join(directory, "content", name), { recursive: true, mode: 0o700 });
    }
    const records = new FileRecords(join(directory, "records.db"));
    try {
      await makeReserve(directory);
      await syncDirectory(join(directory, "content"));
      await syncDirectory(directory);
      // SQLite writes the log, this descriptor only synchronises it. (The database file itself must never be opened
      // and closed here: that would drop SQLite's POSIX lock.)
      const log = await open(join(directory, "records.db-wal"), "r");
      return new DiskFileStore(options, records, log);
    } catch (error) {
      records.close();
      throw error;
    }
  }

  async stage(bytes: AsyncIterable<Uint8Array>, limits: { readonly maxBytes: number }): Promise<StagedFile> {
    this.#assertOpen();
    const id = newId();
    const path = this.#incoming(id);
    this.#inFlight.add(id);
    try {
      const handle = await open(path, "wx", 0o600);
      try {
        const { size, etag } = await writeAll(handle, bytes, limits.maxBytes);
        await handle.sync();
        return { id, size, etag };
      } finally {
        await handle.close();
      }
    } catch (error) {
      await rm(path, { force: true }).catch(ignore);
      this.#inFlight.delete(id);
      throw translate(error);
    }
  }

  async commit(
    files: readonly { readonly staged: StagedFile; readonly file: NewFile }[],
  ): Promise<readonly FileRecord[]> {
    const ids = files.map(({ staged }) => staged.id);
    const at = new Date(this.#now()).toISOString();
    const records = files.map(
      ({ staged, file }): FileRecord => ({ ...file, ...staged, createdAt: at, modifiedAt: at }),
    );
    let recorded = false;
    try {
      this.#assertOpen();
      for (const id of ids) await rename(this.#incoming(id), this.#content(id));
      await Promise.all([...new Set(ids.map((id) => this.#fanOut(id)))].map(syncDirectory));
      this.#assertOpen();
      this.#records.insert(records);
      recorded = true;
      await this.#syncLog();
      return records;
    } catch (error) {
      if (recorded && !this.#closed) this.#records.delete(ids);
      for (const id of ids) await this.#removeBytes(id);
      throw translate(error);
    } finally {
      for (const id of ids) this.#inFlight.delete(id);
    }
  }

  async discard(staged: StagedFile): Promise<void> {
    try {
      await rm(this.#incoming(staged.id), { force: true });
    } finally {
      this.#inFlight.delete(staged.id);
    }
  }

  async find(sessionId: string, fileId: string): Promise<SessionFile | null> {
    this.#assertOpen();
    return this.#records.find(sessionId, fileId, this.#notBefore());
  }

  async list(sessionId: string): Promise<readonly SessionFile[]> {
    this.#assertOpen();
    return this.#records.list(sessionId, this.#notBefore());
  }

  async open(record: FileRecord, range?: ByteRange): Promise<Readable | null> {
    this.#assertOpen();
    let handle: FileHandle;
    try {
      handle = await open(this.#content(record.id), "r");
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw translate(error);
    }
    // The stream owns the descriptor from here: it closes it at its end, on error and on destroy.
    return handle.createReadStream({ highWaterMark: BLOCK_BYTES, ...range });
  }

  async link(links: readonly FileLink[]): Promise<void> {
    if (links.length === 0) return;
    this.#assertOpen();
    try {
      this.#records.link(links);
    } catch (error) {
      throw translate(error);
    }
    await this.#syncLog();
  }

  async remove(sessionId: string, fileId: string): Promise<boolean> {
    this.#assertOpen();
    const found = this.#records.find(sessionId, fileId, this.#notBefore());
    if (!found) return false;
    if (found.linked) {
      await this.#spendingReserve(() => this.#records.unlink(sessionId, fileId));
      await this.#syncLog();
      return true;
    }
    await this.#spendingReserve(() => this.#records.delete([fileId]));
    await this.#syncLog();
    await this.#removeBytes(fileId);
    return true;
  }

  /** Removes files whose time is over, content without a record, and records without content. One at a time. */
  sweep(): Promise<SweepResult> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = null;
    });
    return this.#sweeping;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer) clearInterval(this.#timer);
    await this.#sweeping?.catch(ignore);
    await this.#nextLogSync?.catch(ignore);
    await this.#logSync.catch(ignore);
    await this.#log.close();
    this.#records.close();
  }

  async #sweep(): Promise<SweepResult> {
    this.#assertOpen();
    let expired = 0;
    for (;;) {
      const ids = this.#records.expired(this.#notBefore(), SWEEP_BATCH);
      if (ids.length === 0) break;
      await this.#spendingReserve(() => this.#records.delete(ids));
      for (const id of ids) await this.#removeBytes(id);
      expired += ids.length;
      if (this.#closed) break;
    }

    let orphanedContent = 0;
    const folders = [
      join(this.#directory, "incoming"),
      ...FAN_OUT.map((name) => join(this.#directory, "content", name)),
    ];
    for (const folder of folders) {
      for await (const entry of await opendir(folder)) {
        if (this.#closed) break;
        // Both are asked in one turn: a commit adds its record before it leaves the set.
        if (this.#inFlight.has(entry.name)) continue;
        if (folder !== folders[0] && isId(entry.name) && this.#records.exists(entry.name)) continue;
        await rm(join(folder, entry.name), { force: true, recursive: true });
        orphanedContent += 1;
      }
    }

    let orphanedRecords = 0;
    let last = "";
    while (!this.#closed) {
      const ids = this.#records.idsAfter(last, SWEEP_BATCH);
      const newest = ids.at(-1);
      if (newest === undefined) break;
      last = newest;
      const missing: string[] = [];
      for (const id of ids) {
        const handle = await open(this.#content(id), "r").catch((error: unknown) => {
          if (errorCode(error) !== "ENOENT") throw error;
          return null;
        });
        if (handle) await handle.close();
        else missing.push(id);
      }
      if (missing.length > 0 && !this.#closed) {
        await this.#spendingReserve(() => this.#records.delete(missing));
        orphanedRecords += missing.length;
      }
      await nextTurn();
    }
    if (!this.#closed) await makeReserve(this.#directory);
    return { expired, orphanedContent, orphanedRecords };
  }

  /** Group commit: whoever asks while a synchronisation runs shares the next one. */
  #syncLog(): Promise<void> {
    this.#nextLogSync ??= this.#logSync.catch(ignore).then(() => {
      this.#nextLogSync = null;
      this.#logSync = this.#log.datasync();
      return this.#logSync;
    });
    return this.#nextLogSync;
  }

  /** On a full disk even deleting writes to the log first: then the reserve pays. */
  async #spendingReserve(work: () => void): Promise<void> {
    try {
      work();
    } catch (error) {
      if (!isDatabaseFull(error)) throw error;
      await rm(join(this.#directory, "reserve"), { force: true });
      try {
        work();
      } catch (again) {
        throw translate(again);
      }
    }
  }

  async #removeBytes(id: string): Promise<void> {
    await rm(this.#incoming(id), { force: true });
    await rm(this.#content(id), { force: true });
  }

  #notBefore(): number {
    return this.#now() - this.#ttlMs;
  }

  #incoming(id: string): string {
    return join(this.#directory, "incoming", id);
  }

  #fanOut(id: string): string {
    return join(this.#directory, "content", id.charAt(0));
  }

  #content(id: string): string {
    return join(this.#fanOut(id), id);
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new FileStoreError("closed", "the file store is closed: the gateway is shutting down");
  }
}

async function writeAll(
  handle: FileHandle,
  bytes: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ size: number; etag: string }> {
  const hash = createHash("sha256");
  let size = 0;
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  const flush = async () => {
    if (gatheredBytes === 0) return;
    const blocks = gathered;
    const total = gatheredBytes;
    gathered = [];
    gatheredBytes = 0;
    const { bytesWritten } = await handle.writev(blocks);
    if (bytesWritten === total) return;
    // A write can be short, on a nearly full disk for one.
    const block = Buffer.concat(blocks, total);
    for (let offset = bytesWritten; offset < total; ) {
      offset += (await handle.write(block, offset, total - offset)).bytesWritten;
    }
  };
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > maxBytes) throw new FileStoreError("too_large", `the file is larger than ${maxBytes} bytes`);
    hash.update(chunk);
    gathered.push(chunk);
    gatheredBytes += chunk.length;
    if (gatheredBytes < BLOCK_BYTES) continue;
    countTransfer(gatheredBytes);
    await flush();
  }
  await flush();
  return { size, etag: hash.digest("hex") };
}

async function makeReserve(directory: string): Promise<void> {
  try {
    const path = join(directory, "reserve");
    const existing = await stat(path).catch(() => null);
    if (existing?.size === RESERVE_BYTES) return;
    await writeFile(path, Buffer.alloc(RESERVE_BYTES), { mode: 0o600 });
  } catch (error) {
    // A disk that is full already: files can still be read, and the next sweep tries again.
    if (!isNoSpace(error)) throw error;
    await rm(join(directory, "reserve"), { force: true });
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function errorCode(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOSPC" || code === "EDQUOT" || isDatabaseFull(error);
}

function translate(error: unknown): unknown {
  if (!isNoSpace(error)) return error;
  return new FileStoreError(
    "storage_full",
    "no space left for files: free space in the data directory or shorten KERNELYARD_FILE_TTL_MS",
    {
      cause: error,
    },
  );
}

function ignore(): void {}
