/**
 * `FileStore` on a directory: `records.db` (-wal) says who owns what, `content.ts` has the bytes beside it.
 *
 * Order of a commit: bytes synchronised → renamed into `content` → directory synchronised → record → log synchronised.
 * Dying in between leaves content without a record, which the sweep removes; never a record without its bytes.
 */
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { newId } from "../../../common/ids.ts";
import {
  type ByteRange,
  type ErasedFiles,
  type FileLink,
  type FileRecord,
  type FileStore,
  type FilesOf,
  isFileOf,
  newRecords,
  type SessionFile,
  type StagedCommit,
  type StagedFile,
  type StageLimits,
  type SweepResult,
  storeClosed,
  type Usage,
} from "../store.ts";
import { type Retention, Sweeping } from "../sweeping.ts";
import { DiskContent, translate } from "./content.ts";
import { FileRecords, isDatabaseFull } from "./records.ts";
import { sweepDisk } from "./sweep.ts";

/** Files per step; between steps other work gets its turn. */
const ERASED_TOGETHER = 200;

export interface DiskFileStoreOptions extends Retention {
  readonly directory: string;
}

export class DiskFileStore implements FileStore {
  readonly #content: DiskContent;
  readonly #records: FileRecords;
  readonly #log: FileHandle;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Ids between the start of `stage` and the end of `commit` or `discard`: the sweep leaves them alone. */
  readonly #inFlight = new Set<string>();
  readonly #sweeping: Sweeping;
  #logSync: Promise<void> = Promise.resolve();
  #nextLogSync: Promise<void> | null = null;
  #closed = false;

  private constructor(
    options: DiskFileStoreOptions,
    content: DiskContent,
    records: FileRecords,
    log: FileHandle,
  ) {
    this.#content = content;
    this.#records = records;
    this.#log = log;
    this.#ttlMs = options.ttlMs;
    this.#now = options.now ?? Date.now;
    this.#sweeping = new Sweeping(options, (end) =>
      sweepDisk({
        records,
        content,
        notBeforeMs: () => this.#notBefore(),
        deleteRecords: (ids) => this.#spendingReserve(() => records.delete(ids)),
        inFlight: this.#inFlight,
        end,
      }),
    );
  }

  /** Throws `FileStoreError` `in_use` when another process has the directory open. */
  static async open(options: DiskFileStoreOptions): Promise<DiskFileStore> {
    const { directory } = options;
    const content = await DiskContent.open(directory);
    const records = new FileRecords(join(directory, "records.db"));
    try {
      await content.secure();
      // SQLite writes the log, this descriptor only synchronises it. (The database file itself must never be opened
      // and closed here: that would drop SQLite's POSIX lock.)
      const log = await open(join(directory, "records.db-wal"), "r");
      return new DiskFileStore(options, content, records, log);
    } catch (error) {
      records.close();
      throw error;
    }
  }

  async stage(bytes: AsyncIterable<Uint8Array>, limits: StageLimits): Promise<StagedFile> {
    this.#assertOpen();
    const id = newId();
    this.#inFlight.add(id);
    try {
      return { id, ...(await this.#content.receive(id, bytes, limits.maxBytes)) };
    } catch (error) {
      await this.#content.discard(id).catch(ignore);
      this.#inFlight.delete(id);
      throw translate(error);
    }
  }

  async commit(files: readonly StagedCommit[]): Promise<readonly FileRecord[]> {
    const ids = files.map(({ staged }) => staged.id);
    const records = newRecords(files, this.#now());
    let recorded = false;
    try {
      this.#assertOpen();
      await this.#content.keep(ids);
      this.#assertOpen();
      this.#records.insert(records);
      recorded = true;
      await this.#syncLog();
      return records;
    } catch (error) {
      if (recorded && !this.#closed) this.#records.delete(ids);
      for (const id of ids) await this.#content.remove(id);
      throw translate(error);
    } finally {
      for (const id of ids) this.#inFlight.delete(id);
    }
  }

  async discard(staged: StagedFile): Promise<void> {
    try {
      await this.#content.discard(staged.id);
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
    try {
      return await this.#content.read(record.id, range);
    } catch (error) {
      throw translate(error);
    }
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
    await this.#content.remove(fileId);
    return true;
  }

  async erase(of: FilesOf): Promise<ErasedFiles> {
    this.#assertOpen();
    let [files, bytes, kept, last] = [0, 0, 0, ""];
    for (;;) {
      const page = this.#records.after(last, ERASED_TOGETHER);
      if (page.length === 0) break;
      last = page.at(-1)?.id ?? "";
      const gone = page.filter((record) => isFileOf(record, of) === "gone");
      kept += page.filter((record) => isFileOf(record, of) === "kept").length;
      await this.#spendingReserve(() => this.#records.delete(gone.map(({ id }) => id)));
      await this.#syncLog();
      for (const { id, size } of gone) {
        await this.#content.remove(id);
        bytes += size;
      }
      files += gone.length;
      await nextTurn();
      this.#assertOpen();
    }
    const links = this.#records.unlinkAll(of.owner);
    if (of.holder !== null) this.#records.disown(of.holder);
    if (files + links + kept > 0) this.#records.scrub();
    await this.#syncLog();
    return { files, bytes, links, kept };
  }

  async usage(holder: string | null): Promise<Usage> {
    this.#assertOpen();
    return this.#records.usage(holder);
  }

  sweep(): Promise<SweepResult> {
    return this.#sweeping.run();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#sweeping.stop();
    await this.#nextLogSync?.catch(ignore);
    await this.#logSync.catch(ignore);
    await this.#log.close();
    this.#records.close();
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
      await this.#content.spendReserve();
      try {
        work();
      } catch (again) {
        throw translate(again);
      }
    }
  }

  #notBefore(): number {
    return this.#now() - this.#ttlMs;
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed();
  }
}

function ignore(): void {}
