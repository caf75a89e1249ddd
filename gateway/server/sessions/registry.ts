/** The sessions of this gateway. The launcher's labels are the truth; this is a cache with a queue per session. */
import type { Logger } from "pino";
import type { Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { From, RoomMaker } from "./admission.ts";
import type { Lease, SessionBinding } from "./lease.ts";
import type { Loss } from "./losses.ts";
import type { Sandboxes } from "./sandboxes.ts";
import { Session } from "./session.ts";
import { keyText } from "./session-key.ts";

/** Sessions without a kernel that are remembered, so that they can be told that they lost one. */
const REMEMBERED = 10_000;
const LONGEST_SWEEP_MS = 15_000;
const SHORTEST_SWEEP_MS = 250;

export interface RegistryOptions {
  readonly sandboxes: Sandboxes;
  readonly idleMs: number;
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

  constructor(options: RegistryOptions) {
    this.#options = options;
    options.sandboxes.admission.onFull((from) => this.#giveWay(from));
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

  ownedBy(owner: string): Session[] {
    return [...this.#sessions.values()].filter((session) => session.owner === owner);
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

  /** Ends idle kernels from now on. */
  start(): void {
    const every = Math.min(LONGEST_SWEEP_MS, Math.max(SHORTEST_SWEEP_MS, this.#options.idleMs / 4));
    this.#timer = setInterval(() => void this.#sweep(), every);
  }

  /** Lets go of the streams; the sandboxes stay for the next gateway. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const session of this.#sessions.values()) session.release();
  }

  /** The session that has been idle longest: its files stay, and its next call is told. */
  async #giveWay(from: From): ReturnType<RoomMaker> {
    const { log, sandboxes } = this.#options;
    if (sandboxes.stuck) return "stays";
    let longest: Session | null = null;
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || !session.idle || !from(session.caller)) continue;
      if (longest === null || session.lastUsedAt < longest.lastUsedAt) longest = session;
    }
    const sandbox = (await longest?.end("gave_way")) ?? null;
    if (sandbox === null) return "none";
    log.info({ sandbox }, "idle kernel gave way");
    return sandboxes.isDoomed(sandbox) ? "stays" : "gone";
  }

  async #sweep(): Promise<void> {
    const now = performance.now();
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || now - session.lastUsedAt < this.#options.idleMs) continue;
      const sandbox = await session.end("idle");
      if (sandbox !== null) this.#options.log.info({ sandbox }, "idle kernel ended");
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
