/**
 * A copy of the audit log's files in a bucket, for when the host is lost. Nothing but an erasure waits for it. Every few
 * minutes, whatever the bucket does not have in its present length is put whole, streamed from the disk, one file at a
 * time: the file that is written to again and again, a full one for the last time. Log files only grow, so lengths tell;
 * an erasure, which rewrites them, leaves a mark on the disk first.
 *
 * A directory has a folder of its own in the bucket (`copy.json`), which it alone writes: `audit/FOLDER/audit-DATE.N.jsonl`.
 * A directory that came from a backup or a snapshot finds more there than it has, and begins a new folder: nothing in the
 * bucket is ever replaced by less, but by an erasure.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../../../common/ids.ts";
import type { Subject } from "../../auth/principal.ts";
import { byAge, type LogFile, logFile, logFiles } from "../files.ts";
import type { ErasedEntries } from "../lines.ts";
import { eraseObjects, messageOf } from "./erase.ts";
import type { AuditObjects } from "./objects.ts";
import { type CopyState, readState, writeState } from "./state.ts";

/** What a lost host costs, and the longest that it takes to put a file. */
const EVERY_MS = 180_000;
const RETRY_MS = { first: 15_000, longest: 600_000 };
/** Whoever asks for an erasure waits for it; Node's `fetch` gives up after five minutes. */
const PATIENCE = () => AbortSignal.timeout(120_000);
/** Below the operator's prefix. */
const UNDER = "audit/";

export interface AuditCopyOptions {
  readonly directory: string;
  /** The first part of the folder's name, for whoever looks at the bucket. */
  readonly host: string;
  readonly objects: AuditObjects;
  readonly now: () => number;
  /** Told once when the bucket does not take the log; and when it does again (null). */
  readonly onProblem: (problem: string | null) => void;
  /** A file is gone from the disk, and the bucket has none or only a part of it. */
  readonly onLost: (name: string) => void;
  readonly everyMs?: number;
  readonly retryMs?: { readonly first: number; readonly longest: number };
  /** When whoever asked for an erasure has waited long enough. */
  readonly patience?: () => AbortSignal;
}

export interface CopyFigures {
  /** Since the bucket had all that there was. */
  readonly ageMs: number;
  /** Files that were put. */
  readonly puts: number;
  /** Attempts that ended without the bucket having all. */
  readonly failures: number;
}

/** What an erasure has come to in the bucket. */
export interface ErasedCopy {
  /** In objects whose file is not on this host. */
  readonly entries: number;
  /** Rewritten files of this host that the bucket does not have yet; they are put as soon as it takes them. */
  readonly late: number;
  /** Other objects that may still have entries; null: it is not known how many. */
  readonly unread: number | null;
  readonly problem: string | null;
  /** The bucket keeps earlier versions. */
  readonly versioned: boolean;
}

export class AuditCopy {
  readonly #options: AuditCopyOptions;
  readonly #stop = new AbortController();
  /** Lengths that the bucket has; null: it was not looked at yet. */
  #there: Map<string, number> | null = null;
  #state: CopyState | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** One thing at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Ends the round that is under way. */
  #round = new AbortController();
  #behind = new Set<string>();
  #wholeAt: number;
  #puts = 0;
  #failures = 0;
  #inARow = 0;
  /** Of a tenant or user whose erasure ran out of time: where it goes on when asked again. */
  #unfinished: { readonly whose: string; readonly last: string } | null = null;

  constructor(options: AuditCopyOptions) {
    this.#options = options;
    this.#wholeAt = options.now();
  }

  get figures(): CopyFigures {
    const ageMs = Math.max(0, this.#options.now() - this.#wholeAt);
    return { ageMs, puts: this.#puts, failures: this.#failures };
  }

  start(): void {
    this.#in(0);
  }

  /** Now, or after what is under way. Resolves when the bucket has all, or it is known that it does not; rejects never. */
  copy(): Promise<boolean> {
    return this.#alone(async () => {
      this.#round = new AbortController();
      return this.#tried(AbortSignal.any([this.#stop.signal, this.#round.signal]));
    });
  }

  /** `rewrite` rewrites the files on the disk and gives the names of those that have changed. Rejects as it does, or as `node:fs`. */
  async erase<T extends { readonly files: readonly string[] }>(
    subject: Subject,
    policy: ErasedEntries,
    rewrite: () => Promise<T>,
  ): Promise<{ readonly local: T; readonly copy: ErasedCopy }> {
    this.#round.abort(new Error("an erasure comes first"));
    return this.#alone(async () => {
      const { directory, objects, patience = PATIENCE } = this.#options;
      await this.#marked(true);
      const local = await rewrite().catch((error: unknown) => {
        // What it has interrupted goes on.
        this.#in(0);
        throw error;
      });
      for (const name of local.files) this.#there?.delete(name);
      const signal = AbortSignal.any([this.#stop.signal, patience()]);
      const puts = { versioned: false };
      const whole = await this.#tried(signal, puts);
      const late = whole ? [] : local.files.filter((name) => !this.#there?.has(name));
      const { folder } = await this.#known();
      const onDisk = new Set((await logFiles(directory)).map(({ name }) => `${UNDER}${folder}/${name}`));
      const whose = JSON.stringify([subject.tenant, subject.user, policy]);
      const after = this.#unfinished?.whose === whose ? this.#unfinished.last : null;
      const { entries, last, problem, unread, versioned } = await eraseObjects({
        objects,
        under: UNDER,
        after,
        isOurs: (key) => onDisk.has(key),
        subject,
        policy,
        signal,
      });
      this.#unfinished = last === null ? null : { whose, last };
      const copy = { entries, late: late.length, unread, problem, versioned: versioned || puts.versioned };
      return { local, copy };
    });
  }

  /** A last time, and not for longer than this. */
  async close(withinMs: number): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const late = setTimeout(() => this.#stop.abort(new Error("the service stops")), withinMs);
    await this.copy();
    clearTimeout(late);
    this.#stop.abort(new Error("the service has stopped"));
    this.#options.objects.close();
  }

  #in(ms: number): void {
    if (this.#stop.signal.aborted) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.copy(), ms).unref();
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #tried(signal: AbortSignal, seen: { versioned: boolean } = { versioned: false }): Promise<boolean> {
    const { everyMs = EVERY_MS, now, onProblem, retryMs = RETRY_MS } = this.#options;
    const begunAt = now();
    try {
      await this.#putAll(signal, seen);
    } catch (error) {
      // What made way for an erasure has not failed: that one puts everything.
      if (this.#round.signal.aborted && signal.reason === this.#round.signal.reason) return false;
      this.#failures += 1;
      this.#inARow += 1;
      if (this.#inARow === 1) onProblem(messageOf(error));
      this.#in(Math.min(retryMs.longest, retryMs.first * 2 ** (this.#inARow - 1)));
      return false;
    }
    this.#wholeAt = begunAt;
    if (this.#inARow > 0) onProblem(null);
    this.#inARow = 0;
    this.#in(everyMs);
    return true;
  }

  async #putAll(signal: AbortSignal, seen: { versioned: boolean }): Promise<void> {
    const { directory, objects } = this.#options;
    signal.throwIfAborted();
    const there = this.#there ?? (await this.#look(signal));
    const { folder, rewritten } = await this.#known();
    const files = await logFiles(directory);
    const names = new Set(files.map(({ name }) => name));
    this.#forget(names, there);
    for (const { name } of files) {
      const path = join(directory, name);
      const bytes = await lengthOf(path);
      if (bytes === null || there.get(name) === bytes) continue;
      this.#behind.add(name);
      const { versioned } = await objects.put(`${UNDER}${folder}/${name}`, begin(path, bytes), { signal });
      seen.versioned ||= versioned;
      this.#puts += 1;
      there.set(name, bytes);
      this.#behind.delete(name);
    }
    if (rewritten) await this.#marked(false);
  }

  /** Files go from the disk when they are too old or too large. */
  #forget(names: ReadonlySet<string>, there: Map<string, number>): void {
    for (const name of this.#behind) {
      if (names.has(name)) continue;
      this.#behind.delete(name);
      this.#options.onLost(name);
    }
    for (const name of there.keys()) if (!names.has(name)) there.delete(name);
  }

  /** What of this directory the bucket has. */
  async #look(signal: AbortSignal): Promise<Map<string, number>> {
    const { directory, objects } = this.#options;
    const state = await this.#known();
    const under = `${UNDER}${state.folder}/`;
    const there = new Map<string, number>();
    let newest: LogFile | null = null;
    for await (const page of objects.list(under, { signal })) {
      for (const { bytes, key } of page) {
        const file = logFile(key.slice(under.length));
        if (file === null) continue;
        there.set(file.name, bytes);
        if (newest === null || byAge(file, newest) > 0) newest = file;
      }
    }
    const last = (await logFiles(directory)).at(-1) ?? null;
    let ahead = newest !== null && (last === null || byAge(newest, last) > 0);
    if (!state.rewritten) {
      for (const [name, bytes] of there) ahead ||= bytes > ((await lengthOf(join(directory, name))) ?? bytes);
    }
    if (ahead) {
      this.#state = { folder: this.#newFolder(), rewritten: false };
      await writeState(directory, this.#state);
    }
    if (ahead || state.rewritten) there.clear();
    // Nobody else writes there. A store that cannot tell is no reason not to copy.
    else await objects.dropUnfinished(under, signal).catch(() => {});
    this.#there = there;
    return there;
  }

  async #known(): Promise<CopyState> {
    const { directory } = this.#options;
    this.#state ??= await readState(directory);
    if (this.#state === null) {
      this.#state = { folder: this.#newFolder(), rewritten: false };
      await writeState(directory, this.#state);
    }
    return this.#state;
  }

  async #marked(rewritten: boolean): Promise<CopyState> {
    const state = { ...(await this.#known()), rewritten };
    await writeState(this.#options.directory, state);
    this.#state = state;
    return state;
  }

  #newFolder(): string {
    const host = this.#options.host.replaceAll(/[^A-Za-z0-9-]/g, "-").slice(0, 63);
    return `${host}.${newId()}`;
  }
}

/** The file's first bytes: not what is appended meanwhile, for the length that is noted is the one that was put. */
async function* begin(path: string, bytes: number): AsyncGenerator<Uint8Array> {
  if (bytes > 0) yield* createReadStream(path, { end: bytes - 1 });
}

/** Null: there is no such file. */
async function lengthOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
