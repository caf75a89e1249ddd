/**
 * The audit log's files: `audit-DATE.N.jsonl`, a line for each entry, only ever appended to. A new day or a full file
 * begins a new one; whole files go when they are too old, or when all together are too large.
 */
import { mkdirSync } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Subject } from "../auth/principal.ts";
import type { AuditCopy, CopyFigures, ErasedCopy } from "./copy/copy.ts";
import type { AuditEntry } from "./entry.ts";
import { type LogFile, logFile, logFiles } from "./files.ts";
import { type ErasedEntries, entryOf, erased } from "./lines.ts";

const DAY_MS = 86_400_000;
/** A file's part of the whole, and no more than a copy of it can be made of every few minutes. */
const FILES = 16;
const LARGEST_FILE_BYTES = 64 * 1024 * 1024;
/** Entries that wait for the disk; beyond it they are lost. One with all its ids has 5 KiB. */
const MOST_WAITING = 4096;
/** Entries of this time are written together: no call waits for the disk. What a killed process loses. */
const WRITTEN_AFTER_MS = 100;
/** At a stop that has no other bound. */
const COPIED_WITHIN_MS = 5_000;
/** Read back for whoever looks at the last entries. */
export const READ_BYTES = 1024 * 1024;

export interface AuditLogOptions {
  readonly directory: string;
  readonly keepDays: number;
  /** Of all files together. */
  readonly maxBytes: number;
  readonly now: () => number;
  /** Told when entries are lost or files removed before their time; and when it works again (null). */
  readonly onProblem: (problem: string | null) => void;
  /** Closed by the log. Default: there is none. */
  readonly copy?: AuditCopy | null;
}

export interface ErasedAudit {
  readonly entries: number;
  /** Null: there is no copy in a bucket. */
  readonly copy: ErasedCopy | null;
}

export interface AuditSink {
  write(entry: AuditEntry): void;
  /** Of the subject's entries; how many there were. Waits for the copy, for minutes at most. Rejects as `node:fs` does. */
  erase(subject: Subject, policy: ErasedEntries): Promise<ErasedAudit>;
  /** Entries that could not be kept. */
  readonly lost: number;
  /** Null: there is no copy. */
  readonly copied: CopyFigures | null;
  /** The last ones, newest first, as far as they are among the last `READ_BYTES`. */
  recent(most: number): Promise<AuditEntry[]>;
}

interface OpenFile extends LogFile {
  readonly handle: FileHandle;
  bytes: number;
}

export class AuditLog implements AuditSink {
  readonly #options: AuditLogOptions;
  #waiting: AuditEntry[] = [];
  #timer: NodeJS.Timeout | null = null;
  #lost = 0;
  #writing: Promise<void> | null = null;
  #file: OpenFile | null = null;
  /** One after the other. */
  #erasing: Promise<unknown> = Promise.resolve();
  /** The last write may have left half a line. */
  #torn = false;
  #failing = false;

  constructor(options: AuditLogOptions) {
    this.#options = options;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  }

  get lost(): number {
    return this.#lost;
  }

  get copied(): CopyFigures | null {
    return this.#options.copy?.figures ?? null;
  }

  /** Never waits and never throws. */
  write(entry: AuditEntry): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(entry);
    this.#timer ??= setTimeout(() => this.#begin(), WRITTEN_AFTER_MS);
  }

  async recent(most: number): Promise<AuditEntry[]> {
    this.#begin();
    await this.#writing;
    const found: AuditEntry[] = [];
    let left = READ_BYTES;
    for (const { name } of (await logFiles(this.#options.directory)).toReversed()) {
      if (found.length >= most || left <= 0) break;
      const text = await lastBytes(join(this.#options.directory, name), left);
      left -= text.length;
      for (const line of text.split("\n").toReversed()) {
        if (found.length >= most) break;
        const entry = entryOf(line);
        if (entry !== null) found.push(entry);
      }
    }
    return found;
  }

  erase(subject: Subject, policy: ErasedEntries): Promise<ErasedAudit> {
    const { copy } = this.#options;
    const rewrite = () => this.#rewrite(subject, policy);
    const turn = this.#erasing.then(async () => {
      if (!copy) return { entries: (await rewrite()).entries, copy: null };
      const done = await copy.erase(subject, policy, rewrite);
      return { entries: done.local.entries, copy: done.copy };
    });
    this.#erasing = turn.catch(() => {});
    return turn;
  }

  /** File by file, each written anew and put in the place of the old one; entries that come meanwhile wait. */
  async #rewrite(subject: Subject, policy: ErasedEntries): Promise<Rewritten> {
    this.#begin();
    await this.#writing;
    const rewriting = this.#rewriteAll(subject, policy);
    this.#writing = rewriting.then(
      () => {},
      () => {},
    );
    try {
      return await rewriting;
    } finally {
      this.#writing = null;
      this.#begin();
    }
  }

  async #rewriteAll(subject: Subject, policy: ErasedEntries): Promise<Rewritten> {
    const { directory } = this.#options;
    await this.#file?.handle.close();
    this.#file = null;
    const files: string[] = [];
    let entries = 0;
    for (const name of await readdir(directory)) {
      if (name.endsWith(".new")) await rm(join(directory, name));
      if (logFile(name) === null) continue;
      const count = await rewrite(join(directory, name), subject, policy);
      if (count > 0) files.push(name);
      entries += count;
    }
    return { entries, files };
  }

  /** Resolves when what was written is in its file, and in the bucket as far as that takes no longer. */
  async close(copyWithinMs = COPIED_WITHIN_MS): Promise<void> {
    this.#begin();
    await this.#writing;
    await this.#file?.handle.close();
    this.#file = null;
    await this.#options.copy?.close(copyWithinMs);
  }

  #begin(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null;
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const entries = this.#waiting;
      this.#waiting = [];
      try {
        await this.#append(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
        if (this.#failing) this.#options.onProblem(null);
        this.#failing = false;
      } catch (error) {
        this.#lost += entries.length;
        this.#torn = true;
        if (!this.#failing) this.#options.onProblem(`entries of the audit log are lost: ${String(error)}`);
        this.#failing = true;
      }
    }
  }

  async #append(text: string): Promise<void> {
    const file = await this.#current();
    const bytes = Buffer.from(this.#torn ? `\n${text}` : text);
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await file.handle.write(bytes, at);
      at += bytesWritten;
      file.bytes += bytesWritten;
    }
    this.#torn = false;
  }

  async #current(): Promise<OpenFile> {
    const { directory, now } = this.#options;
    const date = new Date(now()).toISOString().slice(0, 10);
    const present = this.#file;
    if (present !== null && present.date === date && present.bytes < this.#fileBytes) return present;
    await present?.handle.close();
    this.#file = null;
    const files = await logFiles(directory);
    const last = files.findLast((file) => file.date === date);
    const full = last !== undefined && (await stat(join(directory, last.name))).size >= this.#fileBytes;
    const number = last === undefined ? 1 : full ? last.number + 1 : last.number;
    const name = `audit-${date}.${number}.jsonl`;
    const handle = await open(join(directory, name), "a", 0o600);
    const { size } = await handle.stat();
    // A process that was killed may have left half a line.
    this.#torn ||= size > 0;
    const opened = { name, date, number, handle, bytes: size };
    this.#file = opened;
    await this.#sweep(files.filter((file) => file.name !== name));
    return opened;
  }

  /** `files`: those that are not written to, oldest first. */
  async #sweep(files: readonly LogFile[]): Promise<void> {
    const { directory, keepDays, maxBytes, now, onProblem } = this.#options;
    const oldest = new Date(now() - keepDays * DAY_MS).toISOString().slice(0, 10);
    let bytes = this.#fileBytes;
    for (const { name, date } of files.toReversed()) {
      const { size } = await stat(join(directory, name));
      bytes += size;
      if (date >= oldest && bytes <= maxBytes) continue;
      if (date >= oldest) onProblem(`${name} was removed before its time: KERNELYARD_AUDIT_BYTES is used up`);
      await rm(join(directory, name));
    }
  }

  get #fileBytes(): number {
    return Math.min(this.#options.maxBytes / FILES, LARGEST_FILE_BYTES);
  }
}

interface Rewritten {
  readonly entries: number;
  /** Names of those that have changed. */
  readonly files: readonly string[];
}

async function lastBytes(path: string, most: number): Promise<string> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, most);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.subarray(0, bytesRead).toString();
  } finally {
    await handle.close();
  }
}

/** How many entries of theirs there were. A file in which nobody is erased is not touched. */
async function rewrite(path: string, subject: Subject, policy: ErasedEntries): Promise<number> {
  const written = `${path}.new`;
  const [from, to] = [await open(path, "r"), await open(written, "w", 0o600)];
  let count = 0;
  try {
    const bytes = from.createReadStream({ autoClose: false });
    await to.writeFile(
      erased(bytes, subject, policy, () => {
        count += 1;
      }),
    );
    await to.sync();
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
  if (count > 0) await rename(written, path);
  else await rm(written);
  return count;
}
