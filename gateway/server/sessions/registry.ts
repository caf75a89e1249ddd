/** The sessions of this gateway. The launcher's labels are the truth; this is a cache with a queue per session. */
import type { Logger } from "pino";
import type { Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Lease } from "./lease.ts";
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
  readonly log: Logger;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #sessions = new Map<string, Session>();
  #timer: NodeJS.Timeout | null = null;
  #retired = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
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

  /** Time until the next idle kernel ends, in milliseconds; null without kernels. */
  get nextIdleEndMs(): number | null {
    let earliest: number | null = null;
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || !session.idle) continue;
      const left = session.lastUsedAt + this.#options.idleMs - performance.now();
      if (earliest === null || left < earliest) earliest = left;
    }
    return earliest === null ? null : Math.max(0, earliest);
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

  knows(sandboxId: string): boolean {
    for (const session of this.#sessions.values()) if (session.sandboxId === sandboxId) return true;
    return false;
  }

  /** The session's kernel, when its turn has come; see `Session.lease`. */
  lease(key: SessionKey, signal: AbortSignal, patient: boolean): Promise<Lease> {
    return this.session(key).lease(signal, patient);
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

  async #sweep(): Promise<void> {
    const now = performance.now();
    for (const session of this.#sessions.values()) {
      if (session.sandboxId === null || now - session.lastUsedAt < this.#options.idleMs) continue;
      const sandbox = await session.end("it was not used for too long");
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
