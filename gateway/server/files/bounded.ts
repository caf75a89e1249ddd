/**
 * A store with its ends in sight: each transfer has its memory before it begins, each holder a quota, and the disk a
 * reserve. What is refused leaves nothing; reading and deleting go on.
 */
import type { Readable } from "node:stream";
import type { DiskReserve } from "../../common/disk-space.ts";
import { type MemoryBudget, MemoryTaken } from "../bounds/memory.ts";
import {
  type ByteRange,
  type ErasedFiles,
  type FileLink,
  type FileRecord,
  type FileStore,
  FileStoreError,
  type FilesOf,
  type Holder,
  type SessionFile,
  type StagedCommit,
  type StagedFile,
  type StageLimits,
  type SweepResult,
  type Usage,
} from "./store.ts";

const MEMORY_WITHIN_MS = 60_000;
/** The disk is looked at again after so many bytes of one file. */
const LOOK_AFTER_BYTES = 8 * 1024 * 1024;
/** A key or a private network speaks for many users. */
export const SHARED_HOLDER_FACTOR = 10;

export interface StoreBounds {
  readonly memory: MemoryBudget;
  /** What one `stage` of this store holds in memory. */
  readonly stageBytes: number;
  /** Bytes of one holder; a shared one has ten times as much. */
  readonly perHolderBytes: number;
  /** Null: no other limit than the place itself. */
  readonly totalBytes: number | null;
  /** Null: the place is no disk of ours. */
  readonly reserve: DiskReserve | null;
  /** Told of each file that was stored, whatever becomes of it. */
  readonly onStored?: ((tenant: string, bytes: number) => void) | undefined;
}

const full = (why: string) => new FileStoreError("storage_full", why);

export class BoundedFileStore implements FileStore {
  readonly #store: FileStore;
  readonly #bounds: StoreBounds;
  /** Bytes that are on their way, by holder; they count as if they were there. */
  readonly #coming = new Map<string, number>();
  /** Of files that are staged. */
  readonly #staged = new Map<string, { readonly holder: string; readonly bytes: number }>();
  #comingOfAll = 0;

  constructor(store: FileStore, bounds: StoreBounds) {
    this.#store = store;
    this.#bounds = bounds;
  }

  async stage(bytes: AsyncIterable<Uint8Array>, limits: StageLimits): Promise<StagedFile> {
    const { holder } = limits;
    const hold = await this.#memory(holder);
    let counted = 0;
    const count = (more: number) => {
      counted += more;
      this.#count(holder.key, more);
    };
    try {
      const staged = await this.#store.stage(this.#watched(bytes, holder, count), limits);
      this.#staged.set(staged.id, { holder: holder.key, bytes: counted });
      counted = 0;
      this.#bounds.onStored?.(holder.tenant, staged.size);
      return staged;
    } finally {
      this.#count(holder.key, -counted);
      hold.release();
    }
  }

  async commit(files: readonly StagedCommit[]): Promise<readonly FileRecord[]> {
    try {
      return await this.#store.commit(files);
    } finally {
      for (const { staged } of files) this.#settled(staged);
    }
  }

  async discard(staged: StagedFile): Promise<void> {
    this.#settled(staged);
    await this.#store.discard(staged);
  }

  find(sessionId: string, fileId: string): Promise<SessionFile | null> {
    return this.#store.find(sessionId, fileId);
  }

  list(sessionId: string): Promise<readonly SessionFile[]> {
    return this.#store.list(sessionId);
  }

  open(record: FileRecord, range?: ByteRange): Promise<Readable | null> {
    return this.#store.open(record, range);
  }

  link(links: readonly FileLink[]): Promise<void> {
    return this.#store.link(links);
  }

  remove(sessionId: string, fileId: string): Promise<boolean> {
    return this.#store.remove(sessionId, fileId);
  }

  erase(of: FilesOf): Promise<ErasedFiles> {
    return this.#store.erase(of);
  }

  usage(holder: string | null): Promise<Usage> {
    return this.#store.usage(holder);
  }

  sweep(): Promise<SweepResult> {
    return this.#store.sweep();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #memory(holder: Holder) {
    const { memory, stageBytes } = this.#bounds;
    try {
      return await memory.wait(stageBytes, holder, MEMORY_WITHIN_MS);
    } catch (error) {
      if (!(error instanceof MemoryTaken)) throw error;
      throw new FileStoreError("busy", "too many files are on their way; try again");
    }
  }

  /** Throws `storage_full`. What is on its way counts; `more`: there must be room for something more. */
  async #check(holder: Holder, more: 0 | 1): Promise<void> {
    const { perHolderBytes, reserve, totalBytes } = this.#bounds;
    const quota = perHolderBytes * (holder.shared ? SHARED_HOLDER_FACTOR : 1);
    const own = (await this.#store.usage(holder.key)).bytes + (this.#coming.get(holder.key) ?? 0);
    if (own + more > quota) {
      throw full(
        `all ${quota} bytes that one caller may store are taken (KERNELYARD_FILES_PER_USER); delete files, or wait until their time is over`,
      );
    }
    if (totalBytes !== null) {
      const all = (await this.#store.usage(null)).bytes + this.#comingOfAll;
      if (all + more > totalBytes) {
        throw full(
          `all ${totalBytes} bytes for files are taken (KERNELYARD_FILES_TOTAL); delete files, or raise it`,
        );
      }
    }
    const problem = (await reserve?.problemWith(0)) ?? null;
    if (problem !== null) throw full(problem);
  }

  async *#watched(
    bytes: AsyncIterable<Uint8Array>,
    holder: Holder,
    count: (bytes: number) => void,
  ): AsyncGenerator<Uint8Array> {
    await this.#check(holder, 1);
    let unchecked = 0;
    for await (const chunk of bytes) {
      count(chunk.length);
      unchecked += chunk.length;
      if (unchecked >= LOOK_AFTER_BYTES) {
        unchecked = 0;
        await this.#check(holder, 0);
      }
      yield chunk;
    }
    await this.#check(holder, 0);
  }

  #count(holder: string, bytes: number): void {
    this.#comingOfAll += bytes;
    const now = (this.#coming.get(holder) ?? 0) + bytes;
    if (now === 0) this.#coming.delete(holder);
    else this.#coming.set(holder, now);
  }

  #settled(staged: StagedFile): void {
    const counted = this.#staged.get(staged.id);
    if (counted === undefined) return;
    this.#staged.delete(staged.id);
    this.#count(counted.holder, -counted.bytes);
  }
}
