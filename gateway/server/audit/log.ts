/**
 * The audit log's files: `audit-DATE.N.jsonl`, a line for each entry, only ever appended to. A new day or a full file
 * begins a new one; whole files go when they are too old, or when all together are too large.
 */
import { mkdirSync } from "node:fs";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Subject } from "../auth/principal.ts";
import { AuditEntry, anonymous } from "./entry.ts";

const DAY_MS = 86_400_000;
/** A file's part of the whole. */
const FILES = 16;
/** Entries that wait for the disk; beyond it they are lost. One with all its ids has 5 KiB. */
const MOST_WAITING = 4096;
/** Entries of this time are written together: no call waits for the disk. What a killed process loses. */
const WRITTEN_AFTER_MS = 100;
/** Read back for whoever looks at the last entries. */
export const READ_BYTES = 1024 * 1024;
const NAME = /^audit-(\d{4}-\d{2}-\d{2})\.(\d+)\.jsonl$/;

export interface AuditLogOptions {
  readonly directory: string;
  readonly keepDays: number;
  /** Of all files together. */
  readonly maxBytes: number;
  readonly now: () => number;
  /** Told when entries are lost or files removed before their time; and when it works again (null). */
  readonly onProblem: (problem: string | null) => void;
}

/** What becomes of the entries of whom is erased: they stay without saying who it was, or go. */
export type ErasedEntries = "anonymous" | "remove";

export interface AuditSink {
  write(entry: AuditEntry): void;
  /** Of the subject's entries; how many there were. Rejects as `node:fs` does. */
  erase(subject: Subject, policy: ErasedEntries): Promise<number>;
  /** Entries that could not be kept. */
  readonly lost: number;
  /** The last ones, newest first, as far as they are among the last `READ_BYTES`. */
  recent(most: number): Promise<AuditEntry[]>;
}

interface LogFile {
  readonly name: string;
  readonly date: string;
  readonly number: number;
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
    for (const { name } of (await this.#files()).toReversed()) {
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

  /** File by file, each written anew and put in the place of the old one; entries that come meanwhile wait. */
  async erase(subject: Subject, policy: ErasedEntries): Promise<number> {
    this.#begin();
    await this.#writing;
    let erased = 0;
    this.#writing = this.#rewriteAll(subject, policy).then((count) => {
      erased = count;
    });
    try {
      await this.#writing;
    } finally {
      this.#writing = null;
      this.#begin();
    }
    return erased;
  }

  async #rewriteAll(subject: Subject, policy: ErasedEntries): Promise<number> {
    const { directory } = this.#options;
    await this.#file?.handle.close();
    this.#file = null;
    let erased = 0;
    for (const name of await readdir(directory)) {
      if (name.endsWith(".new")) await rm(join(directory, name));
      if (NAME.test(name)) erased += await rewrite(join(directory, name), subject, policy);
    }
    return erased;
  }

  /** Resolves when what was written is in its file. */
  async close(): Promise<void> {
    this.#begin();
    await this.#writing;
    await this.#file?.handle.close();
    this.#file = null;
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
    const { directory, maxBytes, now } = this.#options;
    const date = new Date(now()).toISOString().slice(0, 10);
    const present = this.#file;
    if (present !== null && present.date === date && present.bytes < maxBytes / FILES) return present;
    await present?.handle.close();
    this.#file = null;
    const files = await this.#files();
    const last = files.findLast((file) => file.date === date);
    const full = last !== undefined && (await stat(join(directory, last.name))).size >= maxBytes / FILES;
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
    let bytes = maxBytes / FILES;
    for (const { name, date } of files.toReversed()) {
      const { size } = await stat(join(directory, name));
      bytes += size;
      if (date >= oldest && bytes <= maxBytes) continue;
      if (date >= oldest) onProblem(`${name} was removed before its time: KERNELYARD_AUDIT_BYTES is used up`);
      await rm(join(directory, name));
    }
  }

  async #files(): Promise<LogFile[]> {
    const names = await readdir(this.#options.directory);
    return names
      .flatMap((name) => {
        const [, date, number] = NAME.exec(name) ?? [];
        return date === undefined ? [] : [{ name, date, number: Number(number) }];
      })
      .sort((one, other) => one.date.localeCompare(other.date) || one.number - other.number);
  }
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

/** Lines that are no entry stay as they are. A file in which nobody is erased is not touched. */
async function rewrite(path: string, subject: Subject, policy: ErasedEntries): Promise<number> {
  const written = `${path}.new`;
  const [from, to] = [await open(path, "r"), await open(written, "w", 0o600)];
  let erased = 0;
  try {
    for await (const line of from.readLines({ autoClose: false })) {
      const entry = entryOf(line);
      if (entry === null || !isWhose(entry, subject)) {
        await to.appendFile(`${line}\n`);
        continue;
      }
      erased += 1;
      if (policy === "anonymous")
        await to.appendFile(`${JSON.stringify(anonymous(entry, subject.user === null))}\n`);
    }
    await to.sync();
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
  if (erased > 0) await rename(written, path);
  else await rm(written);
  return erased;
}

function isWhose({ auth, subject, tenant }: AuditEntry, { tenant: of, user }: Subject): boolean {
  return tenant === of && (user === null || (auth === "jwt" && subject === user));
}

/** Null: half a line, as a killed process or the beginning of what was read leaves it. */
function entryOf(line: string): AuditEntry | null {
  if (line === "") return null;
  try {
    return AuditEntry.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
