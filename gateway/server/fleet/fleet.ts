/**
 * Which host serves a session's call. What this host holds with a valid lease is served here without asking anybody; of all else the
 * directory knows whose it is. Whatever may be over soon (a lost host's lease, a session on its way, an engine that is emptied) is
 * waited for within bounds.
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { LimiterStore } from "../auth/rate-limits.ts";
import { betterOfTwo, takerOf } from "./choice.ts";
import {
  type Directory,
  type DirectoryTimes,
  DirectoryUnavailable,
  type Host,
  type HostState,
  type Move,
  type Routed,
  type Speaker,
} from "./directory/directory.ts";
import { type FleetFigures, FORWARDS, noCounts, TRAVELS, WAITS } from "./figures.ts";
import type { Certificate } from "./hop/certificate.ts";
import type { Forwarded, HopClient, HopRequest, Target } from "./hop/client.ts";
import { HOP_HEADER, type Hop, type HopTokens, type HopVerdict } from "./hop/token.ts";
import type { LeaseTimes } from "./lease.ts";
import { Member } from "./member.ts";
import { type SavingSessions, TRAVEL_AT_ONCE, type WorkspaceObjects, Workspaces } from "./workspaces.ts";

export interface FleetTimes extends DirectoryTimes, LeaseTimes {
  readonly beatMs: number;
  /** How long a call waits for its session to have a home. Longer than a lease: a lost host costs a wait, not an error. */
  readonly waitMs: number;
  /** How long a call waits for an engine that does not answer. */
  readonly engineWaitMs: number;
  /** Between two questions for the same session. */
  readonly askEveryMs: number;
  /** How long an answer is believed of who has a session. */
  readonly believedMs: number;
}

/** Beats are not sent at the same time by all. */
const BEAT_SPREAD = 0.1;
const FAILED_BEAT_AGAIN_MS = 500;
/** Of the directory, one after the other, while the lease waits for its next beat. */
const ASKED_IN_A_ROUND = 100;
export const TOUCH_EVERY_MS = 30_000;
const PARK_AGAIN_MS = 1_000;
/** An object of a session is written again long before: it belongs to nobody when its record ended as well. */
const KEEP_OBJECTS = 1.5;
/** Answers remembered of who has which session; beyond it the oldest is forgotten. */
const MOST_BELIEVED = 50_000;

/** Noted of a request that was cancelled before it came. */
const CANCELLED = "";

/** `not_now`: it is as it was before, and may arrive later. */
export type Arrival =
  | { readonly kind: "restored" | "without_files" }
  | { readonly kind: "not_now"; readonly reason: string };

/** The sessions of this host, as the fleet needs them. */
export interface LocalSessions extends SavingSessions {
  /** Sandboxes that fit beside the calls that run. */
  readonly free: number;
  /** Sessions with a kernel. */
  readonly live: number;
  readonly image: string | null;
  /** Of those with a kernel, last used first. */
  keys(): readonly SessionKey[];
  /** None of its calls runs here. */
  quiet(key: SessionKey): boolean;
  /**
   * The session comes from another host: what is left here of an earlier stay is removed, its `files` are unpacked, and its next call is
   * told. Rejects as `Session.arrive` does.
   */
  arrive(key: SessionKey, why: Move, files: Readable | null): Promise<Arrival>;
  /** Somebody else has the session: when its running call is over, kernel and files of it go. */
  depart(key: SessionKey): Promise<void>;
}

export interface FleetOptions {
  readonly directory: Directory;
  /** Where its hosts count their callers together. */
  readonly limits: LimiterStore;
  readonly client: HopClient;
  readonly tokens: HopTokens;
  readonly certificate: Certificate;
  readonly speaker: Speaker;
  /** Where others reach this host. */
  readonly addr: string;
  readonly version: string;
  readonly times: FleetTimes;
  readonly sessions: LocalSessions;
  /** Null: files stay where they are. */
  readonly objects: WorkspaceObjects | null;
  /** A session with more is not saved. */
  readonly workspaceBytes: number;
  /** Of a session, for the directory: says nothing of whose it is. */
  readonly digestOf: (key: SessionKey) => string;
  readonly log: Logger;
}

/** Nobody can say, or nobody can take it, within the time that a call waits. */
export class FleetUnavailable extends Error {
  override readonly name = "FleetUnavailable";
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Asked again, it is answered otherwise: the session is not this host's, or not in that epoch. */
export class StaleRoute extends Error {
  override readonly name = "StaleRoute";
}

/** Two hosts derive different sessions from one call. */
export class HopMismatch extends Error {
  override readonly name = "HopMismatch";
}

/** Waits a moment, or throws when the time for waiting is over. */
type Pause = (why: (typeof WAITS)[number], reason: string) => Promise<void>;

export class FleetError extends Error {
  override readonly name = "FleetError";
}

/** `parked`: another host can have them, with their files; `left`: they are here still. */
export interface Drained {
  readonly parked: number;
  readonly left: number;
}

export type Place =
  /** `mine`: whether it still is, to be asked right before the code is handed over. */
  | { readonly kind: "here"; readonly mine: () => boolean }
  | { readonly kind: "there"; readonly target: Target; readonly epoch: number };

/** One call on its way to its session; bounded in time. */
export interface Search {
  /** Where to go now. Rejects with `FleetUnavailable`, as `LocalSessions.arrive` does, or with the signal's reason. */
  next(): Promise<Place>;
  /** There it was not, or nobody answered: whoever was believed to have it is asked for anew, after a pause. */
  missed(reason: string): Promise<void>;
}

export class Fleet {
  readonly #options: FleetOptions;
  readonly #member: Member;
  readonly #workspaces: Workspaces;
  readonly #believed = new Map<
    string,
    { readonly target: Target; readonly epoch: number; readonly at: number }
  >();
  readonly #asking = new Map<string, Promise<Routed>>();
  readonly #arriving = new Map<string, Promise<void>>();
  readonly #keys = new Map<string, SessionKey>();
  readonly #used = new Set<string>();
  readonly #stopped = new AbortController();
  #hosts: readonly Host[] = [];
  #state: HostState = "up";
  #draining: Promise<Drained> | null = null;
  #left = false;
  #beating: Promise<void> | null = null;
  #touchedAt = performance.now();
  /** Until the first beat has been answered nobody knows better. */
  #problem: string | null = "it has not joined yet";
  readonly #counts = {
    forwards: noCounts(FORWARDS),
    waits: noCounts(WAITS),
    sessions: noCounts(TRAVELS),
  };

  constructor(options: FleetOptions) {
    this.#options = options;
    const { addr, certificate, digestOf, directory, log, objects, sessions, speaker, times, version } =
      options;
    this.#member = new Member({
      directory,
      speaker,
      times,
      now: () => performance.now(),
      fields: () => ({
        state: this.#state,
        addr,
        cert: certificate.sha256,
        free: sessions.free,
        sessions: sessions.live,
        version,
        image: sessions.image,
      }),
      onLost: (digest, epoch) => this.#depart(digest, epoch),
    });
    this.#workspaces = new Workspaces({
      objects,
      member: this.#member,
      sessions,
      maxBytes: options.workspaceBytes,
      keepMs: times.recordMs * KEEP_OBJECTS,
      digestOf,
      log,
    });
  }

  get host(): string {
    return this.#member.host;
  }

  get addr(): string {
    return this.#options.addr;
  }

  get certificate(): Certificate {
    return this.#options.certificate;
  }

  get limits(): LimiterStore {
    return this.#options.limits;
  }

  get figures(): FleetFigures {
    const { counts: workspaces } = this.#workspaces;
    return { member: this.#problem === null, hosts: this.#hosts.length, ...this.#counts, workspaces };
  }

  /** Why sessions are not served now; null: they are. */
  get problem(): string | null {
    return this.#problem;
  }

  /** As the directory had them at the last beat, this one among them. */
  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  /**
   * Joins, and beats from now on. A directory that does not answer yet is waited for by calls, not here. Rejects with `FleetError` when
   * another machine has this host's id.
   */
  async start(): Promise<void> {
    const { leaseMs } = this.#options.times;
    const giveUpAt = performance.now() + leaseMs * 1.5;
    // After the machine was started again its own former lease is in the way, until it is over.
    for (let outcome = await this.#beat(); outcome === "rival"; outcome = await this.#beat()) {
      if (performance.now() > giveUpAt) {
        throw new FleetError(
          `Another machine of this fleet has this host's id: its disk is a copy. Remove the file \`fleet-host\` from the gateway's folder of one of the data directories, and start that again.`,
        );
      }
      await delay(leaseMs / 20);
    }
    await this.#hostsNow();
    void this.#keepBeating();
  }

  /** Keeps what it has; new sessions are for others. */
  async takeNoMore(): Promise<void> {
    this.#state = "draining";
    // One that is under way said otherwise.
    await this.#beat();
    await this.#beat();
  }

  /**
   * Puts its sessions away for other hosts, last used ones first, and leaves the fleet when it has none any more. Running calls end first.
   * Whatever is not away after `withinMs` stays here, and in the log. Joins a drain that is under way; never rejects.
   */
  drain(withinMs: number): Promise<Drained> {
    this.#draining ??= this.#drain(withinMs);
    return this.#draining;
  }

  /**
   * The host is stopped in order: files of quiet sessions are saved for other hosts, and when `served` (no call runs any more) those of the
   * others. All stay this host's, so that whoever starts it again goes on with their variables. A stop that outlasts a lease gives quiet ones
   * away, as the host's death would have by then. Resolves after `withinMs` at the latest; never rejects.
   */
  async standDown(served: Promise<void>, withinMs: number): Promise<void> {
    if (this.#left) return served;
    const { log, objects, sessions, times } = this.#options;
    const until = performance.now() + withinMs;
    const signal = AbortSignal.timeout(Math.ceil(withinMs));
    const soon = delay(Math.min(times.leaseMs, withinMs), "late" as const, { ref: false });
    await this.takeNoMore();
    const quiet = sessions.keys().filter((key) => sessions.quiet(key));
    const over = Promise.all([served, this.#workspaces.saveAll(quiet, false, signal)]);
    const others = () => this.#hosts.some(({ id, state }) => id !== this.host && state === "up");
    if ((await Promise.race([over, soon])) === "late" && objects !== null && others()) {
      const { parked } = await this.#parkAll(until, { losesFiles: false });
      log.info({ parked }, "the stop takes its time: quiet sessions go to other hosts");
    }
    await Promise.race([served, delay(Math.max(0, until - performance.now()), undefined, { ref: false })]);
    const left = await this.#workspaces.saveAll(sessions.keys(), true, signal);
    if (left > 0) log.error({ left }, "stopped with sessions whose last changes are on this host alone");
  }

  /** `draining`: it puts its sessions away; `drained`: it has, and takes no part any more. */
  get stay(): "here" | "draining" | "drained" {
    if (this.#draining === null) return "here";
    return this.#left ? "drained" : "draining";
  }

  /** The sessions stay this host's until its lease is over: whoever starts it again goes on with them. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#beating;
    await this.#options.client.close();
    await this.#options.directory.close();
  }

  /** A connection to the engine is there again: what it lacks of this host's is said again. */
  async reconnected(): Promise<void> {
    try {
      await this.#beat();
      await this.#member.reassert();
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
    }
  }

  search(key: SessionKey, signal: AbortSignal): Search {
    const digest = this.#digest(key);
    const { askEveryMs, waitMs } = this.#options.times;
    const deadline = performance.now() + waitMs;
    let last = "the fleet's directory did not say who has the session";
    const pause: Pause = async (why, reason) => {
      const ms = askEveryMs;
      this.#counts.waits[why] += 1;
      last = reason;
      if (performance.now() + ms > deadline)
        throw new FleetUnavailable(`The session cannot be served now: ${last}`, 5);
      await delay(ms * (0.75 + Math.random() / 2), undefined, { signal });
    };
    return {
      next: () => this.#place(key, digest, pause, signal),
      missed: async (reason) => {
        this.#believed.delete(digest);
        await pause("not_taken", reason);
      },
    };
  }

  /**
   * Whether a call that another host has forwarded may run here: it is never forwarded again. Rejects with `StaleRoute`,
   * `HopMismatch`, `FleetUnavailable`, or as `LocalSessions.arrive` does.
   */
  async received(key: SessionKey, hop: Hop): Promise<() => boolean> {
    const digest = this.#digest(key);
    if (digest !== hop.digest) {
      throw new HopMismatch(
        "This host derives another session from the call than the one that forwarded it; do both have the same settings?",
      );
    }
    const held = this.#member.holds(digest);
    if (held !== null && (hop.epoch === null || hop.epoch === held)) return this.#mine(digest, held);
    if (held !== null && hop.epoch !== null && hop.epoch < held)
      throw new StaleRoute("the session is here in a later epoch");
    const routed = await this.#ask(digest, this.host).catch((error: unknown) => {
      throw unavailable(error);
    });
    const epoch = await this.#taken(key, digest, routed);
    if (epoch === null) throw new StaleRoute("the session is not here");
    return this.#mine(digest, epoch);
  }

  /** Whose session it is, without taking it; null: nobody's, or it is here. Rejects with `FleetUnavailable`. */
  async lookFor(key: SessionKey): Promise<{ readonly target: Target; readonly epoch: number } | null> {
    const digest = this.#digest(key);
    if (this.#member.holds(digest) !== null) return null;
    const routed = await this.#ask(digest, null).catch((error: unknown) => {
      throw unavailable(error);
    });
    return routed.kind === "own" && routed.home !== this.host ? targetOf(routed) : null;
  }

  /** The better one of two other hosts that have room when this one has none; null: it has, or there is no such host. */
  hostWithRoom(): Target | null {
    if (this.#options.sessions.free > 0) return null;
    const host = this.#better();
    return host === null || host.free <= 0 ? null : { host: host.id, addr: host.addr, cert: host.cert };
  }

  /** A host of the fleet other than this one; null: there is none of that name now. */
  async hostNamed(id: string): Promise<Target | null> {
    if (id === this.host) return null;
    const known =
      this.#hosts.find((host) => host.id === id) ?? (await this.#hostsNow()).find((host) => host.id === id);
    return known === undefined ? null : { host: id, addr: known.addr, cert: known.cert };
  }

  /** All hosts of the fleet but this one, as the directory had them at the last beat. */
  otherHosts(): Target[] {
    return this.#hosts.flatMap(({ addr, cert, id }) => (id === this.host ? [] : [{ host: id, addr, cert }]));
  }

  /** Notes that the request is here. False: it came to another host, or was cancelled there before it came. */
  async claimRequest(caller: string, requestId: string): Promise<boolean> {
    const noted = await this.#note(caller, requestId, this.host);
    return noted === null || noted === this.host;
  }

  /** The host that has the request; null: none is known, and one that comes is refused. */
  async cancelRequest(caller: string, requestId: string): Promise<string | null> {
    return (await this.#note(caller, requestId, CANCELLED)) || null;
  }

  /**
   * The call as another host takes it: with the caller's own credentials, and signed. `key` null: it is of no session. Rejects when the
   * caller has hung up.
   */
  async forward(
    key: SessionKey | null,
    { target, epoch }: { readonly target: Target; readonly epoch: number | null },
    request: HopRequest,
  ): Promise<Forwarded> {
    const now = this.#member.engineNow;
    if (now === null) return { kind: "not_sent", reason: "the fleet's directory has not answered yet" };
    const token = this.#options.tokens.sign(
      { digest: key === null ? "" : this.#digest(key), epoch },
      target.host,
      now,
    );
    const headers = [...request.headers, HOP_HEADER, token];
    const forwarded = await this.#options.client.forward(target, { ...request, headers });
    this.#counts.forwards[forwarded.kind === "not_sent" ? "not_taken" : forwarded.kind] += 1;
    return forwarded;
  }

  verify(token: string | undefined): HopVerdict {
    const now = this.#member.engineNow;
    if (now === null) return { kind: "refused", why: "the fleet's directory has not answered yet" };
    return this.#options.tokens.verify(token, now);
  }

  /** Its owner has removed the session here: what other hosts could have of its files goes as well. False: there was nothing of it. */
  async forgotten(key: SessionKey): Promise<boolean> {
    const digest = this.#digest(key);
    try {
      let had = false;
      if (this.#member.epochOf(digest) === null) {
        const routed = await this.#ask(digest, this.host);
        had = routed.kind === "claimed" && routed.ckpt !== null;
      }
      this.#keys.delete(digest);
      // The pointer goes first: nobody is sent to an object that is not there.
      await this.#member.settle(digest, { state: "forgotten" });
      await this.#workspaces.forget(digest).catch(storeAway);
      return had;
    } catch (error) {
      // It is said again by nobody: the next call begins it anew, here.
      throw unavailable(error);
    }
  }

  async #drain(withinMs: number): Promise<Drained> {
    const { log } = this.#options;
    const deadline = performance.now() + withinMs;
    await this.takeNoMore();
    log.info({ sessions: this.#member.sessions }, "the host is drained: its sessions go to others");
    const { left, parked } = await this.#parkAll(deadline, { losesFiles: true });
    if (left === 0) {
      this.#stopped.abort();
      await this.#beating;
      await this.#member.leave().catch(() => {});
      this.#problem = "it was drained";
      this.#left = true;
      log.info({ parked }, "drained: this host has left its fleet");
    } else {
      // It may be asked for again.
      this.#draining = null;
      log.error({ parked, left }, "not drained: sessions are left here, with their files");
    }
    return { parked, left };
  }

  /** `losesFiles`: sessions with more than is saved go as well. */
  async #parkAll(deadline: number, how: { readonly losesFiles: boolean }): Promise<Drained> {
    const { digestOf, sessions } = this.#options;
    const recent = sessions.keys().map((key) => [digestOf(key), key] as const);
    const held = [...new Map([...recent, ...this.#keys])].filter(
      ([digest]) => this.#member.epochOf(digest) !== null,
    );
    // Whoever has to wait for a running call keeps nobody from going.
    const waiting = [
      ...held.filter(([, key]) => sessions.quiet(key)),
      ...held.filter(([, key]) => !sessions.quiet(key)),
    ];
    let parked = 0;
    let left = 0;
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (await this.#park(...next, deadline, how)) parked += 1;
        else left += 1;
      }
    };
    await Promise.all(Array.from({ length: TRAVEL_AT_ONCE }, work));
    return { parked, left };
  }

  /** Whether another host can have it. Never rejects. */
  async #park(
    digest: string,
    key: SessionKey,
    deadline: number,
    { losesFiles }: { readonly losesFiles: boolean },
  ): Promise<boolean> {
    const { log, sessions } = this.#options;
    const signal = AbortSignal.timeout(Math.ceil(Math.max(1, deadline - performance.now())));
    for (let told = false; ; ) {
      try {
        // From here on its calls wait for the next home.
        if (!told && !(await this.#member.settle(digest, { state: "moving" }))) return true;
        told = true;
        const saved = await this.#workspaces.save(key, true, signal);
        if (saved.kind === "fenced") return true;
        if (saved.kind === "too_large" && !losesFiles) break;
        if (saved.kind !== "busy" && saved.kind !== "failed") {
          await this.#member.settle(digest, { state: "parked", ckpt: null });
          this.#keys.delete(digest);
          this.#counts.sessions.parked += 1;
          await sessions.depart(key);
          return true;
        }
      } catch (error) {
        log.warn({ err: error, session: digest }, "a session was not put away; it is tried again");
      }
      if (performance.now() + PARK_AGAIN_MS > deadline) break;
      await delay(PARK_AGAIN_MS);
    }
    // Served here on, as long as this host is there.
    await this.#member.settle(digest, { state: "live" }).catch(() => false);
    return false;
  }

  /** Where the directory does not answer nothing is noted: then a cancellation finds what is at its own host. */
  async #note(caller: string, requestId: string, host: string): Promise<string | null> {
    const request = createHash("sha256")
      .update(JSON.stringify([caller, requestId]))
      .digest("base64url");
    try {
      return await this.#options.directory.note(request, host);
    } catch (error) {
      if (error instanceof DirectoryUnavailable) return null;
      throw error;
    }
  }

  async #hostsNow(): Promise<readonly Host[]> {
    try {
      this.#hosts = await this.#options.directory.hosts();
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
    }
    return this.#hosts;
  }

  #digest(key: SessionKey): string {
    const digest = this.#options.digestOf(key);
    this.#used.add(digest);
    return digest;
  }

  #mine(digest: string, epoch: number): () => boolean {
    return () => this.#member.holds(digest) === epoch;
  }

  async #place(key: SessionKey, digest: string, pause: Pause, signal: AbortSignal): Promise<Place> {
    const { believedMs, engineWaitMs } = this.#options.times;
    const askedSince = performance.now();
    for (;;) {
      signal.throwIfAborted();
      const held = this.#member.holds(digest);
      if (held !== null) return { kind: "here", mine: this.#mine(digest, held) };
      const believed = this.#believed.get(digest);
      if (believed !== undefined && performance.now() - believed.at < believedMs)
        return { kind: "there", ...believed };
      let routed: Routed;
      try {
        routed = await this.#ask(digest, this.#candidate());
      } catch (error) {
        if (!(error instanceof DirectoryUnavailable) || performance.now() - askedSince > engineWaitMs)
          throw unavailable(error);
        await pause("engine_away", "the fleet's directory does not answer");
        continue;
      }
      const epoch = await this.#taken(key, digest, routed);
      if (epoch !== null) return { kind: "here", mine: this.#mine(digest, epoch) };
      switch (routed.kind) {
        case "own":
        case "claimed":
          if (routed.home === this.host) await pause("no_lease", "this host's lease is not valid");
          else return { kind: "there", ...this.#believe(digest, routed) };
          break;
        case "wait":
          await pause("moving", "the session is on its way to another host");
          break;
        case "hold":
          await pause(
            "engine_emptied",
            "the fleet's directory has lost its data, and hosts say again what they have",
          );
          break;
        case "fenced":
          // The engine may have forgotten this host, too.
          await this.#beat();
          await pause("no_host", "no host of the fleet can take it");
          break;
      }
    }
  }

  /** The epoch in which the session is this host's, with what there is of it; null: it is not. */
  async #taken(key: SessionKey, digest: string, routed: Routed): Promise<number | null> {
    if (!("epoch" in routed) || routed.home !== this.host) return null;
    this.#believed.delete(digest);
    this.#keys.set(digest, key);
    if (routed.kind === "claimed") await this.#arrive(key, digest, routed);
    const held = this.#member.holds(digest);
    return held === routed.epoch ? held : null;
  }

  /** Once for all calls that wait for it. */
  #arrive(
    key: SessionKey,
    digest: string,
    { ckpt, epoch, why }: Extract<Routed, { kind: "claimed" }>,
  ): Promise<void> {
    const present = this.#arriving.get(digest);
    if (present !== undefined) return present;
    const arrive = async () => {
      const { log, sessions } = this.#options;
      if (this.#member.holds(digest) !== null) return;
      const unknown = why === "unknown";
      // An engine that lost its data knows nothing any more: of a session that somebody had, files may be saved.
      const object = ckpt ?? (unknown ? await this.#workspaces.newest(digest).catch(() => null) : null);
      const from = why !== null && !unknown ? why : object === null ? null : "host_lost";
      if (from !== null) {
        const files = object === null ? null : await this.#workspaces.open(object).catch(storeAway);
        const arrival = await sessions.arrive(key, from, files);
        if (arrival.kind === "not_now") throw new FleetUnavailable(arrival.reason, 5);
        if (arrival.kind === "restored") this.#workspaces.restored();
        else if (object !== null) log.error({ session: digest, object }, "a session came without its files");
      }
      await this.#member.settle(digest, { state: "live" }).catch((error: unknown) => {
        throw unavailable(error);
      });
      this.#counts.sessions[from ?? "new"] += 1;
      if (from !== null) log.info({ session: digest, epoch, why: from }, "a session came from another host");
    };
    const arriving = arrive().finally(() => this.#arriving.delete(digest));
    this.#arriving.set(digest, arriving);
    return arriving;
  }

  /** Once for all calls that ask at the same time. */
  #ask(digest: string, candidate: string | null): Promise<Routed> {
    const name = `${digest} ${candidate}`;
    const present = this.#asking.get(name);
    if (present !== undefined) return present;
    const asked = this.#member.route(digest, candidate).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asked);
    return asked;
  }

  /** Who takes the session if nobody has it: this host while it has room, else the better one of two. */
  #candidate(): string | null {
    const mayTake = this.#member.valid && this.#state === "up";
    return takerOf({ id: this.host, mayTake, free: this.#options.sessions.free }, () => this.#better());
  }

  #better(): Host | null {
    return betterOfTwo(this.#hosts, this.host);
  }

  #believe(digest: string, routed: Extract<Routed, { kind: "own" | "claimed" }>) {
    const believed = { ...targetOf(routed), at: performance.now() };
    this.#believed.delete(digest);
    this.#believed.set(digest, believed);
    const [oldest] = this.#believed.keys();
    if (this.#believed.size > MOST_BELIEVED && oldest !== undefined) this.#believed.delete(oldest);
    return believed;
  }

  #depart(digest: string, epoch: number): void {
    const { log, sessions } = this.#options;
    const key = this.#keys.get(digest);
    this.#keys.delete(digest);
    if (key === undefined) return;
    this.#counts.sessions.left += 1;
    log.warn({ session: digest, epoch }, "a session has another host now; what is here of it goes");
    sessions
      .depart(key)
      .catch((error: unknown) => log.error({ err: error, session: digest }, "an old session did not go"));
  }

  async #keepBeating(): Promise<void> {
    const { beatMs } = this.#options.times;
    const { signal } = this.#stopped;
    let ok = true;
    while (!signal.aborted) {
      const ms = ok
        ? beatMs * (1 - BEAT_SPREAD + 2 * BEAT_SPREAD * Math.random())
        : Math.min(FAILED_BEAT_AGAIN_MS, beatMs);
      await delay(ms, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      this.#beating = this.#round().then((renewed) => {
        ok = renewed;
      });
      await this.#beating;
    }
  }

  /** Never rejects. */
  async #round(): Promise<boolean> {
    const { client, log } = this.#options;
    const outcome = await this.#beat();
    try {
      if (outcome === "renewed") await this.#lookAround();
      void this.#workspaces.round(this.#stopped.signal);
      await client.giveUpLost(new Set(this.#hosts.map(({ id }) => id)));
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) log.error({ err: error }, "a round of the fleet failed");
      return false;
    }
    return outcome === "renewed";
  }

  async #lookAround(): Promise<void> {
    const { directory, sessions } = this.#options;
    this.#hosts = await directory.hosts();
    await this.#member.confirm();
    // Kernels from before a restart of which nobody has asked yet, awake or asleep: a round waits for a few of them.
    let asked = 0;
    for (const key of sessions.keys()) {
      const digest = this.#options.digestOf(key);
      if (this.#member.epochOf(digest) !== null || this.#arriving.has(digest)) continue;
      asked += 1;
      if (asked > ASKED_IN_A_ROUND) break;
      const routed = await this.#ask(digest, null);
      if (routed.kind !== "own" && routed.kind !== "claimed") continue;
      this.#keys.set(digest, key);
      if (routed.home !== this.host) this.#depart(digest, routed.epoch);
    }
    if (performance.now() - this.#touchedAt < TOUCH_EVERY_MS) return;
    this.#touchedAt = performance.now();
    const used = [...this.#used];
    this.#used.clear();
    await directory.touch(used);
  }

  async #beat(): Promise<"renewed" | "rival" | "unavailable"> {
    const { log } = this.#options;
    const outcome = await this.#member.beat();
    const problem = {
      renewed: null,
      rival: "another machine, or a later process of this one, has this host's id",
      unavailable: "the fleet's directory does not answer",
    }[outcome];
    if (problem !== this.#problem) {
      this.#problem = problem;
      if (problem === null) log.info({ host: this.host }, "this host is part of its fleet");
      else log.error({ host: this.host, problem }, "this host takes no part in its fleet at present");
    }
    return outcome;
  }
}

function targetOf({ addr, cert, epoch, home }: Extract<Routed, { kind: "own" | "claimed" }>) {
  return { target: { host: home, addr, cert }, epoch };
}

function storeAway(error: unknown): never {
  const why = error instanceof Error ? error.message : String(error);
  throw new FleetUnavailable(`The store of saved files does not answer (${why}); please try again`, 5);
}

/** For a caller. */
function unavailable(error: unknown): unknown {
  return error instanceof DirectoryUnavailable
    ? new FleetUnavailable(
        "The directory of the fleet does not answer, and sessions wait for it; please try again",
        5,
      )
    : error;
}
