/**
 * This host in the fleet: its lease, renewed by beats, and the sessions that it holds. What it holds with a valid lease it knows without
 * asking anybody. When a lease has ended meanwhile nothing is sure any more, until the directory has said so.
 */
import { randomUUID } from "node:crypto";
import {
  type Checkpoint,
  type Directory,
  DirectoryUnavailable,
  type HostFields,
  type Pointed,
  RecordLost,
  type Routed,
  type Settled,
  type Speaker,
} from "./directory/directory.ts";
import { Lease, type LeaseTimes } from "./lease.ts";

/** Said again to the directory at the same time. */
const RECLAIMS_AT_ONCE = 32;

const NEVER = Number.NEGATIVE_INFINITY;

interface Held {
  readonly epoch: number;
  /** `claimed`: its files are not there yet. `away`: it has no kernel, or is being given away. */
  state: "claimed" | "live" | "away";
  /** The directory has said so since the lease last began. */
  sure: boolean;
  /**
   * It was sure when the engine lost its data: until then nobody else can have claimed it, as long as claims are held back for longer than
   * a lease is believed. Afterwards only the directory can say whose it is.
   */
  reclaimUntil: number;
  /** Where its files were last saved, as far as this host knows: an engine that lost it is told. */
  ckpt: Checkpoint | null;
  /** What the directory was told of it: all, and what is under way. */
  told: number;
  telling: number;
}

export interface MemberOptions {
  readonly directory: Directory;
  readonly speaker: Speaker;
  readonly times: LeaseTimes;
  /** Milliseconds that never jump. */
  readonly now: () => number;
  /** What is told of this host with a beat. */
  readonly fields: () => HostFields;
  /** Somebody else has it: what is here of this session is old. */
  readonly onLost: (digest: string, epoch: number) => void;
}

export type BeatOutcome = "renewed" | "rival" | "unavailable";

export class Member {
  readonly #options: MemberOptions;
  readonly #lease: Lease;
  readonly #held = new Map<string, Held>();
  /** Counts the leases; what was asked in another one is not sure. */
  #era = 0;
  #beating: Promise<BeatOutcome> | null = null;
  /** Counts departures. */
  #term = 0;
  /** Between the engine's clock and ours; null until the first beat. */
  #clockOffset: number | null = null;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#lease = new Lease(options.times, options.now);
  }

  get host(): string {
    return this.#options.speaker.host;
  }

  /** Session work may begin. */
  get valid(): boolean {
    return this.#lease.valid;
  }

  get leaseLeftMs(): number {
    return this.#lease.left;
  }

  /** Sessions that this host has, as far as it knows. */
  get sessions(): number {
    return this.#held.size;
  }

  /** Milliseconds since 1970 by the engine's clock, the same for all hosts; null before the first beat. */
  get engineNow(): number | null {
    return this.#clockOffset === null ? null : this.#options.now() + this.#clockOffset;
  }

  digests(): string[] {
    return [...this.#held.keys()];
  }

  /** The epoch in which this host may run the session's code now; null: it has to ask. */
  holds(digest: string): number | null {
    const held = this.#held.get(digest);
    return held?.sure === true && held.state === "live" && held.telling === 0 && this.#lease.valid
      ? held.epoch
      : null;
  }

  /** Of what is held here, in whatever state; null: nothing. */
  epochOf(digest: string): number | null {
    return this.#held.get(digest)?.epoch ?? null;
  }

  /** Joins the one that is under way: answers are never taken in another order than they were given in. */
  beat(): Promise<BeatOutcome> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = null;
    });
    return this.#beating;
  }

  async #beat(): Promise<BeatOutcome> {
    const term = this.#term;
    const { directory, fields, now, speaker } = this.#options;
    const sentAt = now();
    try {
      const beat = await directory.beat(speaker, fields(), randomUUID());
      // It was on its way when the host left.
      if (term !== this.#term) return "unavailable";
      if (beat.kind === "rival") {
        this.#lease.end();
        return "rival";
      }
      this.#clockOffset = beat.now - (sentAt + now()) / 2;
      const believedUntil = now() + this.#lease.left;
      const continuity = this.#lease.renewed(sentAt, beat.joined);
      if (continuity !== "kept") this.#doubt(continuity === "forgotten" ? believedUntil : NEVER);
      await this.#reclaim(({ reclaimUntil, sure }) => !sure && now() < reclaimUntil);
      return "renewed";
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return "unavailable";
      throw error;
    }
  }

  /** Asks whose the session is, and takes it when it is this host's. Rejects with `DirectoryUnavailable`. */
  async route(digest: string, candidate: string | null): Promise<Routed> {
    const era = this.#era;
    const asked = this.#held.get(digest);
    const told = asked?.telling === 0 ? asked.told : null;
    const routed = await this.#options.directory.route(digest, candidate);
    const held = this.#held.get(digest);
    // Given away or lost meanwhile: the answer is older than that.
    if (asked !== undefined && held !== asked) return routed;
    if ("home" in routed && routed.home === this.host) {
      if (routed.kind !== "wait") this.#found(digest, routed, { sure: era === this.#era, told });
    } else if (held !== undefined && era === this.#era) {
      const mayReclaim = this.#options.now() < held.reclaimUntil;
      const nobodys = routed.kind === "fenced" && !held.sure && !mayReclaim && this.#lease.valid;
      if ("home" in routed || nobodys) this.#lose(digest);
    }
    return routed;
  }

  /** The directory is told what became of a session here. False: it is somebody else's. Rejects with `DirectoryUnavailable`. */
  async settle(digest: string, to: Settled): Promise<boolean> {
    const held = this.#held.get(digest);
    if (held === undefined) return false;
    const { state: before } = held;
    // Before the directory knows: nobody may begin here what somebody else may begin then.
    if (to.state !== "live") held.state = "away";
    held.told += 1;
    held.telling += 1;
    const { epoch, told } = held;
    try {
      const mine = await this.#options.directory.settle({ digest, host: this.host, epoch }, to);
      if (this.#held.get(digest) !== held) return mine;
      if (!mine) this.#lose(digest);
      else if (to.state === "parked" || to.state === "forgotten") this.#held.delete(digest);
      else if (to.state === "live" && held.told === told) held.state = "live";
      return mine;
    } catch (error) {
      if (error instanceof RecordLost) {
        if (held.told === told) held.state = before;
      } else if (to.state !== "live") {
        // It may have been given away: from here on only the directory can say whose it is.
        held.sure = false;
        held.reclaimUntil = NEVER;
      }
      throw error;
    } finally {
      held.telling -= 1;
    }
  }

  /** Rejects with `DirectoryUnavailable`. */
  async ckpt(digest: string, checkpoint: Checkpoint): Promise<Pointed> {
    const held = this.#held.get(digest);
    if (held === undefined) return { kind: "fenced" };
    const pointed = await this.#options.directory.ckpt(
      { digest, host: this.host, epoch: held.epoch },
      checkpoint,
    );
    if (pointed.kind === "set") held.ckpt = checkpoint;
    else if (this.#held.get(digest) === held) this.#lose(digest);
    return pointed;
  }

  /** Says again what an engine may have lost that answers anew. Rejects with `DirectoryUnavailable`. */
  async reassert(): Promise<void> {
    if (this.#lease.valid) await this.#reclaim(({ sure }) => sure);
  }

  /**
   * Looks after what is not sure since a lease ended: it is this host's still, or nobody here may serve it. Rejects with
   * `DirectoryUnavailable`.
   */
  async confirm(): Promise<void> {
    for (const [digest, held] of [...this.#held]) if (!held.sure) await this.route(digest, null);
  }

  /** Takes part no more. Rejects with `DirectoryUnavailable`: others find out when the lease is over. */
  async leave(): Promise<void> {
    this.#term += 1;
    this.#lease.end();
    await this.#options.directory.leave(this.#options.speaker);
  }

  #doubt(reclaimUntil: number): void {
    this.#era += 1;
    for (const held of this.#held.values()) {
      // What was not sure may be somebody else's since an earlier loss.
      held.reclaimUntil = held.sure ? reclaimUntil : Math.min(held.reclaimUntil, reclaimUntil);
      held.sure = false;
    }
  }

  /** `told`: what the directory knew when it was asked; null: it was being told something. */
  #found(
    digest: string,
    routed: Extract<Routed, { kind: "own" | "claimed" }>,
    { sure, told }: { readonly sure: boolean; readonly told: number | null },
  ): void {
    const { epoch } = routed;
    const ready = routed.kind === "own" && routed.ready;
    const before = this.#held.get(digest);
    // An answer that was long on its way.
    if (before !== undefined && before.epoch > epoch) return;
    if (before?.epoch === epoch) {
      if (sure) before.sure = true;
      if (ready && before.told === told) before.state = "live";
      return;
    }
    if (before !== undefined) this.#lose(digest);
    const state = ready ? "live" : "claimed";
    const saved = routed.kind === "claimed" ? routed.ckpt : null;
    const ckpt = saved === null ? null : { key: saved, bytes: 0 };
    this.#held.set(digest, { epoch, state, sure, reclaimUntil: NEVER, ckpt, told: 0, telling: 0 });
  }

  async #reclaim(which: (held: Held) => boolean): Promise<void> {
    const era = this.#era;
    const waiting = [...this.#held].filter(([, held]) => which(held));
    const one = async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const [digest, held] = next;
        if (this.#held.get(digest) !== held || era !== this.#era) continue;
        const holding = { digest, host: this.host, epoch: held.epoch };
        const state = held.state === "away" ? "idle" : held.state;
        const mine = await this.#options.directory.reclaim(holding, state, held.ckpt);
        if (this.#held.get(digest) !== held || era !== this.#era) continue;
        if (!mine) this.#lose(digest);
        else held.sure = true;
      }
    };
    await Promise.all(Array.from({ length: Math.min(RECLAIMS_AT_ONCE, waiting.length) }, one));
  }

  #lose(digest: string): void {
    const held = this.#held.get(digest);
    if (held === undefined || !this.#held.delete(digest)) return;
    this.#options.onLost(digest, held.epoch);
  }
}
