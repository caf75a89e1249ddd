/** The sessions of this gateway. The launcher's labels are the truth; this is a cache with a queue per session. */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type {
  CheckpointHealth,
  Sandbox,
  SessionKey,
  SleepingSession,
} from "../../common/protocol/launcher-api.ts";
import { LauncherRefusal } from "../../common/protocol/launcher-client.ts";
import { callerOf, isOf, type Subject, userPrincipal } from "../auth/principal.ts";
import type { From, RoomMaker } from "./admission.ts";
import type { Lease, SessionBinding } from "./lease.ts";
import type { Loss } from "./losses.ts";
import type { Sandboxes } from "./sandboxes.ts";
import { Session } from "./session.ts";
import { keyText, ownerOf } from "./session-key.ts";

/** Sessions without a kernel that are remembered, so that they can be told that they lost one. */
const REMEMBERED = 10_000;
export const LONGEST_SWEEP_MS = 15_000;
const SHORTEST_SWEEP_MS = 250;
/** Of those that could give way on a full host; more would keep the call waiting that needs the place. */
const ASKED_TO_SLEEP = 3;
/** A kernel that comes to rest, on a machine that has no time for it: variables are worth a wait. Less than a call waits for a place. */
const ASKED_AGAIN_MS = 6_000;
const ASKED_AGAIN_AFTER_MS = 100;

export interface RegistryOptions {
  readonly sandboxes: Sandboxes;
  readonly idleMs: number;
  /** 0: sessions do not sleep. */
  readonly sleepAfterMs: number;
  readonly queueLength: number;
  readonly busyWaitMs: number;
  readonly busyInterruptMs: number | null;
  readonly onLoss: (loss: Loss) => void;
  readonly log: Logger;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #sessions = new Map<string, Session>();
  #timer: NodeJS.Timeout | null = null;
  #retired = false;
  #sweeping = false;
  /** What the launcher says of its host. */
  #sleeps = false;
  /** What the launcher said last; said once in the log. */
  #whyAwake = "";

  constructor(options: RegistryOptions) {
    this.#options = options;
    options.sandboxes.admission.onFull({
      giveWay: (from) => this.#giveWay(from),
      giveWayAhead: (from) => this.#giveWayAhead(from),
    });
  }

  /** Sessions with a kernel. */
  get live(): number {
    let count = 0;
    for (const session of this.#sessions.values()) if (session.sandboxId !== null) count += 1;
    return count;
  }

  /** Calls that wait for their session. */
  get waiting(): number {
    let count = 0;
    for (const session of this.#sessions.values()) count += session.waiting;
    return count;
  }

  /** Remembered from now on. */
  session(key: SessionKey): Session {
    const text = keyText(key);
    const known = this.#sessions.get(text);
    if (known !== undefined) return known;
    const session = new Session(key, this.#options);
    if (this.#retired) session.retire();
    this.#sessions.set(text, session);
    this.#forgetOldest();
    return session;
  }

  /** Null: not remembered. */
  find(key: SessionKey): Session | null {
    return this.#sessions.get(keyText(key)) ?? null;
  }

  /** Of sessions with a kernel, awake or asleep, last used first. */
  keys(): SessionKey[] {
    return [...this.#sessions.values()]
      .filter(({ view }) => view.state !== "none")
      .sort((one, other) => other.lastUsedAt - one.lastUsedAt)
      .map(({ key }) => key);
  }

  /** Idle for `idleMs`, with files that may have changed, and not looked at within `everyMs`; longest idle first. */
  unsaved(idleMs: number, everyMs: number): SessionKey[] {
    const now = performance.now();
    return this.#idleLongest(() => true)
      .filter(
        ({ lastUsedAt, savedAt, unsaved }) =>
          unsaved && now - lastUsedAt >= idleMs && now - savedAt >= everyMs,
      )
      .map(({ key }) => key);
  }

  /** With and without a kernel, last used first. */
  all(): Session[] {
    return [...this.#sessions.values()].sort((one, other) => other.lastUsedAt - one.lastUsedAt);
  }

  ownedBy(owner: string): Session[] {
    return [...this.#sessions.values()].filter((session) => session.owner === owner);
  }

  /** Those whose last call was the subject's, or that are known to be its. */
  keysOf(subject: Subject): SessionKey[] {
    const { tenant, user } = subject;
    const owner = user === null ? null : ownerOf(callerOf(userPrincipal(tenant, user)));
    return [...this.#sessions.values()]
      .filter(
        (session) =>
          (session.caller !== null && isOf(session.caller.key, subject)) ||
          (owner !== null && session.owner === owner),
      )
      .map(({ key }) => key);
  }

  /** Nothing is remembered of it. */
  drop(key: SessionKey): void {
    const text = keyText(key);
    if (this.#sessions.get(text)?.idle === true) this.#sessions.delete(text);
  }

  knows(sandboxId: string): boolean {
    for (const session of this.#sessions.values()) if (session.sandboxId === sandboxId) return true;
    return false;
  }

  /** The session's kernel, when its turn has come; see `Session.lease`. */
  lease(binding: SessionBinding, profile: string, signal: AbortSignal): Promise<Lease> {
    return this.session(binding.key).lease(binding, profile, signal);
  }

  /** Calls that run go on; those that wait for a session are refused from now on. */
  retire(): void {
    this.#retired = true;
    for (const session of this.#sessions.values()) session.retire();
  }

  /** Attaches to a session's sandbox from before a restart. */
  adopt(sandbox: Sandbox, key: SessionKey): Promise<void> {
    return this.session(key).adopt(sandbox);
  }

  /** All that the launcher found asleep when it was asked at `askedAt`, by `performance.now()`. */
  foundAsleep(found: readonly SleepingSession[], askedAt: number): void {
    const there = new Set(found.map(({ session }) => keyText(session)));
    for (const [text, session] of this.#sessions) if (!there.has(text)) session.notFoundAsleep(askedAt);
    // The one asleep longest comes first, and is forgotten first where they are too many.
    for (const sleeping of found) {
      const usedAt = this.find(sleeping.session)?.lastUsedAt ?? 0;
      if (usedAt <= askedAt) this.session(sleeping.session).foundAsleep(sleeping, askedAt);
    }
  }

  /** Sessions sleep where sandboxes are made from checkpoints. */
  fit(checkpoints: CheckpointHealth["state"]): void {
    this.#sleeps = checkpoints === "on" && this.#options.sleepAfterMs > 0;
  }

  /** Puts idle kernels to sleep from now on, and ends those that cannot. */
  start(): void {
    const { idleMs, sleepAfterMs } = this.#options;
    const shortest = sleepAfterMs > 0 ? Math.min(idleMs, sleepAfterMs) : idleMs;
    const every = Math.min(LONGEST_SWEEP_MS, Math.max(SHORTEST_SWEEP_MS, shortest / 4));
    this.#timer = setInterval(() => void this.#sweep(), every);
  }

  /** Lets go of the streams; the sandboxes stay for the next gateway. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const session of this.#sessions.values()) session.release();
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    const { idleMs, log, sleepAfterMs } = this.#options;
    try {
      for (const session of this.#idleLongest(() => true)) {
        const idle = performance.now() - session.lastUsedAt;
        if (idle > sleepAfterMs && (await this.#putToSleep(session)) === "gone") continue;
        if (idle < idleMs) continue;
        const sandbox = await session.end("idle");
        if (sandbox !== null) log.info({ sandbox }, "idle kernel ended");
      }
    } finally {
      this.#sweeping = false;
    }
  }

  /**
   * The host is full: whoever has been idle longest sleeps. Those that are busy for a moment are asked again for a while; where none of
   * the first few can, the first one ends. Its files stay, and its next call is told.
   */
  async #giveWay(from: From): ReturnType<RoomMaker["giveWay"]> {
    const { log, sandboxes } = this.#options;
    if (sandboxes.stuck) return "stays";
    const until = performance.now() + ASKED_AGAIN_MS;
    for (let busy = true; busy && performance.now() < until; ) {
      const slept = await this.#oneToSleep(from);
      if (slept === "gone") return "gone";
      busy = slept === "busy";
      if (busy) await delay(ASKED_AGAIN_AFTER_MS);
    }
    const sandbox = (await this.#idleLongest(from)[0]?.end("gave_way")) ?? null;
    if (sandbox === null) return "none";
    log.info({ sandbox }, "idle kernel gave way");
    return sandboxes.isDoomed(sandbox) ? "stays" : "gone";
  }

  /** None ends for a call that has not come. */
  async #giveWayAhead(from: From): ReturnType<RoomMaker["giveWayAhead"]> {
    if (this.#options.sandboxes.stuck) return "stays";
    return (await this.#oneToSleep(from)) === "gone" ? "gone" : "none";
  }

  /** Of those that have been idle longest, the first that can; `busy`: one may a moment later. */
  async #oneToSleep(from: From): Promise<"gone" | "busy" | "stays"> {
    let most: "busy" | "stays" = "stays";
    for (const session of this.#idleLongest(from).slice(0, ASKED_TO_SLEEP)) {
      const outcome = await this.#putToSleep(session);
      if (outcome === "gone") return "gone";
      if (outcome === "busy") most = "busy";
    }
    return most;
  }

  #idleLongest(from: From): Session[] {
    return [...this.#sessions.values()]
      .filter((session) => session.sandboxId !== null && session.idle && from(session.caller))
      .sort((a, b) => a.lastUsedAt - b.lastUsedAt);
  }

  /** `gone`: its place is free; `busy`: it may sleep a moment later; `stays`: it cannot. */
  async #putToSleep(session: Session): Promise<"gone" | "busy" | "stays"> {
    if (!this.#sleeps) return "stays";
    try {
      return (await session.sleep()) ? "gone" : "busy";
    } catch (error) {
      const { log } = this.#options;
      if (error instanceof LauncherRefusal && error.code === "cannot_sleep") {
        if (this.#whyAwake !== error.message) log.info({ reason: error.message }, "sessions stay awake");
        this.#whyAwake = error.message;
      } else {
        log.warn({ err: error }, "a session did not fall asleep");
      }
      return session.sandboxId === null ? "gone" : "stays";
    }
  }

  #forgetOldest(): void {
    if (this.#sessions.size <= REMEMBERED) return;
    // Insertion order is close enough to age.
    for (const [text, session] of this.#sessions) {
      if (session.sandboxId !== null || !session.idle) continue;
      this.#sessions.delete(text);
      if (this.#sessions.size <= REMEMBERED) return;
    }
  }
}
