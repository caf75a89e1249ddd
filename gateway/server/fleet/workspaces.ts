/**
 * Files of sessions on their way between hosts: packed into an object when they have changed, unpacked where the session is next. An
 * object is written before the directory points at it, and its former one goes after that.
 */
import { randomBytes } from "node:crypto";
import { pipeline, type Readable } from "node:stream";
import { pipeline as pipelined } from "node:stream/promises";
import { createZstdCompress, createZstdDecompress } from "node:zlib";
import type { Logger } from "pino";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { WorkspaceRead, WorkspaceReading } from "../kernel/workspace-transfer.ts";
import { noCounts, SAVES } from "./figures.ts";
import type { Member } from "./member.ts";

/** Where packed files are: the same for all hosts of the fleet. */
export interface WorkspaceObjects {
  /** Resolves with the bytes stored, when every host can read them; leaves nothing when it rejects. */
  put(key: string, bytes: AsyncIterable<Uint8Array>): Promise<number>;
  /** Null when there is no such object. */
  get(key: string): Promise<Readable | null>;
  /** The key of what was written last of all whose key begins so; null: there is nothing. */
  newestUnder(prefix: string): Promise<string | null>;
  delete(key: string): Promise<void>;
  /** Everything whose key begins so. */
  deleteUnder(prefix: string): Promise<void>;
  /** What was written longer ago than this. */
  sweep(olderThanMs: number): Promise<void>;
}

/** `busy`: somebody uses it. `fenced`: it is another host's. */
export type Saved = WorkspaceRead | { readonly kind: "busy" | "fenced" };

/** Nothing of the session is here alone, or it is another host's. */
const SETTLED: ReadonlySet<Saved["kind"]> = new Set(["read", "unchanged", "fenced"]);

/** The sessions of this host whose files may have to be saved. */
export interface SavingSessions {
  /** Idle ones whose files may have changed since they were last saved, longest idle first. */
  unsaved(): readonly SessionKey[];
  /** `patient`: it waits for the running call, and for a kernel; else whoever is busy, or has none, is left alone. */
  save(
    key: SessionKey,
    reading: Pick<WorkspaceReading, "maxBytes" | "take">,
    options: { readonly patient: boolean; readonly signal: AbortSignal },
  ): Promise<WorkspaceRead | { readonly kind: "busy" }>;
}

export interface WorkspacesOptions {
  /** Null: files stay where they are. */
  readonly objects: WorkspaceObjects | null;
  readonly member: Pick<Member, "ckpt" | "epochOf">;
  readonly sessions: SavingSessions;
  /** Of one session, packed and before that. */
  readonly maxBytes: number;
  /** Objects older than this belong to nobody. */
  readonly keepMs: number;
  readonly digestOf: (key: SessionKey) => string;
  readonly log: Logger;
}

const SWEEP_EVERY_MS = 6 * 3_600_000;
const SAVE_WITHIN_MS = 150_000;
/** Sessions whose files travel at the same time: a transfer waits for its sandbox most of the time. */
export const TRAVEL_AT_ONCE = 4;

export class Workspaces {
  readonly #options: WorkspacesOptions;
  readonly #counts = noCounts(SAVES);
  #saving: Promise<void> | null = null;
  #sweptAt = performance.now();
  /** Said once of each. */
  readonly #saidOf = new Set<string>();

  constructor(options: WorkspacesOptions) {
    this.#options = options;
  }

  get counts() {
    return this.#counts;
  }

  /** Saves what is idle, one session after another; joins a round that is under way. Never rejects. */
  round(signal: AbortSignal): Promise<void> {
    this.#saving ??= this.#round(signal).finally(() => {
      this.#saving = null;
    });
    return this.#saving;
  }

  /** Saves what has changed of these, each tried once. How many are as they were last saved, with changes. Never rejects. */
  async saveAll(keys: readonly SessionKey[], patient: boolean, signal: AbortSignal): Promise<number> {
    const { log, objects } = this.#options;
    if (objects === null) return 0;
    const waiting = [...keys];
    let left = 0;
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        try {
          if (!SETTLED.has((await this.save(next, patient, signal)).kind)) left += 1;
        } catch (error) {
          left += 1;
          this.#counts.failed += 1;
          log.warn({ err: error }, "a session's files were not saved for other hosts");
        }
      }
    };
    await Promise.all(Array.from({ length: TRAVEL_AT_ONCE }, work));
    return left;
  }

  /** Rejects with `DirectoryUnavailable` and as the sessions and the store do. */
  async save(key: SessionKey, patient: boolean, signal: AbortSignal): Promise<Saved> {
    const { digestOf, maxBytes, member, objects, sessions } = this.#options;
    const digest = digestOf(key);
    const epoch = member.epochOf(digest);
    if (epoch === null) return { kind: "fenced" };
    if (objects === null) return { kind: "unchanged" };
    let fenced = false;
    const take = async (archive: Readable) => {
      const object = `${digest}/${epoch}-${Date.now().toString(36)}${randomBytes(4).toString("hex")}.tar.zst`;
      let bytes = 0;
      await pipelined(archive, createZstdCompress(), async (packed: AsyncIterable<Uint8Array>) => {
        bytes = await objects.put(object, packed);
      });
      // Where that is not answered nobody knows where it points: the next save's object takes its place, or the sweep takes this one.
      const pointed = await member.ckpt(digest, { key: object, bytes });
      fenced = pointed.kind === "fenced";
      const old = pointed.kind === "fenced" ? object : pointed.former;
      if (old !== null) await objects.delete(old).catch(() => {});
    };
    const within = AbortSignal.any([signal, AbortSignal.timeout(SAVE_WITHIN_MS)]);
    const read = await sessions.save(key, { maxBytes, take }, { patient, signal: within });
    if (fenced) return { kind: "fenced" };
    this.#tell(digest, read);
    return read;
  }

  /** The session's files as an archive; null: they are nowhere. Rejects when the store does not answer. */
  async open(object: string): Promise<Readable | null> {
    const stored = (await this.#options.objects?.get(object)) ?? null;
    if (stored === null) return null;
    const archive = createZstdDecompress();
    // Whoever reads hears of a failure on either side.
    pipeline(stored, archive, () => {});
    return archive;
  }

  /** What was saved last of a session of which the directory knows nothing; null: nothing was. Rejects when the store does not answer. */
  async newest(digest: string): Promise<string | null> {
    return (await this.#options.objects?.newestUnder(`${digest}/`)) ?? null;
  }

  restored(): void {
    this.#counts.restored += 1;
  }

  /** All of a session's: it was forgotten. Rejects when the store does not answer. */
  async forget(digest: string): Promise<void> {
    await this.#options.objects?.deleteUnder(`${digest}/`);
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { keepMs, log, objects, sessions } = this.#options;
    if (objects === null) return;
    for (const key of sessions.unsaved()) {
      if (signal.aborted) return;
      try {
        await this.save(key, false, signal);
      } catch (error) {
        this.#counts.failed += 1;
        log.warn({ err: error }, "a session's files were not saved for other hosts; it is tried again");
      }
    }
    if (performance.now() - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = performance.now();
    await objects.sweep(keepMs).catch((error: unknown) => log.warn({ err: error }, "old files not swept"));
  }

  #tell(digest: string, saved: WorkspaceRead | { readonly kind: "busy" }): void {
    const { log, maxBytes } = this.#options;
    switch (saved.kind) {
      case "read":
        this.#counts.saved += 1;
        if (saved.leftOut !== null)
          this.#once(digest, { leftOut: saved.leftOut }, "files were not all saved");
        break;
      case "too_large":
        this.#counts.too_large += 1;
        this.#once(
          digest,
          { bytes: saved.bytes, maxBytes },
          "a session's files are too large to be saved for other hosts (KERNELYARD_WORKSPACE_MAX_BYTES)",
        );
        break;
      case "failed":
        this.#counts.failed += 1;
        log.warn(
          { session: digest, reason: saved.reason },
          "a session's files were not saved for other hosts",
        );
        break;
      default:
    }
  }

  #once(digest: string, facts: object, message: string): void {
    if (this.#saidOf.has(digest)) return;
    if (this.#saidOf.size > 1_000) this.#saidOf.clear();
    this.#saidOf.add(digest);
    this.#options.log.warn({ session: digest, ...facts }, message);
  }
}
