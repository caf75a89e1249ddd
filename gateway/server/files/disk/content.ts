/**
 * The bytes of the disk store:
 *
 *   incoming/<id>       on their way; never part of a file
 *   content/<c>/<id>    of files; <c> is the id's first character
 *   reserve             space that is given back when deleting needs some on a full disk
 */
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, opendir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { countTransfer } from "../../../common/transfer-memory.ts";
import { type ByteRange, FileStoreError } from "../store.ts";
import { isDatabaseFull } from "./records.ts";

/** Bytes gathered before a write, and read at a time. */
const BLOCK_BYTES = 256 * 1024;
const RESERVE_BYTES = 1024 * 1024;
const FAN_OUT = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"];

/** Something that lies there, whoever put it there. */
export interface ContentEntry {
  readonly name: string;
  /** Among the bytes of files. */
  readonly kept: boolean;
  readonly path: string;
}

export class DiskContent {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<DiskContent> {
    await mkdir(join(directory, "incoming"), { recursive: true, mode: 0o700 });
    for (const name of FAN_OUT) {
      await mkdir(join(directory, "content", name), { recursive: true, mode: 0o700 });
    }
    return new DiskContent(directory);
  }

  /** The reserve is there, and the folders survive a crash. */
  async secure(): Promise<void> {
    await this.makeReserve();
    await syncDirectory(join(this.#directory, "content"));
    await syncDirectory(this.#directory);
  }

  /** Reads `bytes` to their end and synchronises them. On failure, `discard` what came. */
  async receive(
    id: string,
    bytes: AsyncIterable<Uint8Array>,
    maxBytes: number,
  ): Promise<{ readonly size: number; readonly etag: string }> {
    const handle = await open(this.#incoming(id), "wx", 0o600);
    try {
      const written = await writeAll(handle, bytes, maxBytes);
      await handle.sync();
      return written;
    } finally {
      await handle.close();
    }
  }

  /** Makes received bytes those of files, durably. */
  async keep(ids: readonly string[]): Promise<void> {
    for (const id of ids) await rename(this.#incoming(id), this.#kept(id));
    await Promise.all([...new Set(ids.map((id) => this.#fanOut(id)))].map(syncDirectory));
  }

  /** Null when they are not there. */
  async read(id: string, range?: ByteRange): Promise<Readable | null> {
    const handle = await this.#open(id);
    // The stream owns the descriptor from here: it closes it at its end, on error and on destroy.
    return handle?.createReadStream({ highWaterMark: BLOCK_BYTES, ...range }) ?? null;
  }

  async has(id: string): Promise<boolean> {
    const handle = await this.#open(id);
    await handle?.close();
    return handle !== null;
  }

  /** Drops received bytes. */
  async discard(id: string): Promise<void> {
    await rm(this.#incoming(id), { force: true });
  }

  async remove(id: string): Promise<void> {
    await this.discard(id);
    await rm(this.#kept(id), { force: true });
  }

  async *entries(): AsyncGenerator<ContentEntry> {
    const folders = [
      { folder: join(this.#directory, "incoming"), kept: false },
      ...FAN_OUT.map((name) => ({ folder: join(this.#directory, "content", name), kept: true })),
    ];
    for (const { folder, kept } of folders) {
      for await (const { name } of await opendir(folder)) yield { name, kept, path: join(folder, name) };
    }
  }

  async makeReserve(): Promise<void> {
    const path = this.#reserve();
    try {
      const existing = await stat(path).catch(() => null);
      if (existing?.size === RESERVE_BYTES) return;
      await writeFile(path, Buffer.alloc(RESERVE_BYTES), { mode: 0o600 });
    } catch (error) {
      // A disk that is full already: files can still be read, and the next sweep tries again.
      if (!isNoSpace(error)) throw error;
      await rm(path, { force: true });
    }
  }

  async spendReserve(): Promise<void> {
    await rm(this.#reserve(), { force: true });
  }

  async #open(id: string): Promise<FileHandle | null> {
    try {
      return await open(this.#kept(id), "r");
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw error;
    }
  }

  #reserve(): string {
    return join(this.#directory, "reserve");
  }

  #incoming(id: string): string {
    return join(this.#directory, "incoming", id);
  }

  #fanOut(id: string): string {
    return join(this.#directory, "content", id.charAt(0));
  }

  #kept(id: string): string {
    return join(this.#fanOut(id), id);
  }
}

async function writeAll(
  handle: FileHandle,
  bytes: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ size: number; etag: string }> {
  const hash = createHash("sha256");
  let size = 0;
  // Copied, not kept: a sender of single bytes would cost an object and a whole read for each.
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  let filled = 0;
  const flush = async () => {
    // A write can be short, on a nearly full disk for one.
    for (let offset = 0; offset < filled; ) {
      offset += (await handle.write(block, offset, filled - offset)).bytesWritten;
    }
    countTransfer(filled);
    filled = 0;
  };
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > maxBytes) throw new FileStoreError("too_large", `the file is larger than ${maxBytes} bytes`);
    hash.update(chunk);
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, BLOCK_BYTES - filled);
      block.set(chunk.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled === BLOCK_BYTES) await flush();
    }
  }
  await flush();
  return { size, etag: hash.digest("hex") };
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

/** A full disk in the store's words; every other error as it is. */
export function translate(error: unknown): unknown {
  if (!isNoSpace(error)) return error;
  return new FileStoreError(
    "storage_full",
    "no space left for files: free space in the data directory or shorten KERNELYARD_FILE_TTL_MS",
    { cause: error },
  );
}
