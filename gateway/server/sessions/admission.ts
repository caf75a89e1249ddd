/**
 * Places for sandboxes: how many are made at once, and what happens when the host's memory is spoken for. The launcher
 * counts the memory; this side decides who gives way and who waits.
 */
import type { CreateSandbox } from "../../common/protocol/launcher-api.ts";
import { type LauncherClient, LauncherRefusal } from "../../common/protocol/launcher-client.ts";

export interface AdmissionOptions {
  readonly launcher: Pick<LauncherClient, "create">;
  /** Sandboxes that are made at the same time; each costs about two seconds of one CPU. */
  readonly concurrency: number;
  /** How long a call waits for a running call without a session to end, when the host is full. */
  readonly waitMs: number;
}

/** One sandbox's share of the host, until the sandbox is gone. Whoever holds a place answers for its sandbox. */
export interface Place {
  readonly sandboxId: string;
  /** One call runs here and then the place is free: as long as there is one of these, waiting makes sense. */
  serve(): void;
  /** The sandbox is gone: whoever waits for memory tries again. */
  leave(): void;
}

/** Every byte of the sandboxes' memory is taken. */
export class HostFull extends Error {
  override readonly name = "HostFull";
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #turns = new Set<() => void>();
  readonly #freed = new Set<() => void>();
  readonly #givers: (() => Promise<boolean>)[] = [];
  #creating = 0;
  /** Within `create`, also between two attempts: room that is made for them is not for a spare sandbox. */
  #callers = 0;
  /** Places that serve one call. */
  #serving = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Who is asked to end a sandbox that is needed less; false: has none. Asked in the order in which they came. */
  onFull(giveWay: () => Promise<boolean>): void {
    this.#givers.push(giveWay);
  }

  /** True when making a spare sandbox now would keep no caller waiting. */
  get quiet(): boolean {
    return this.#creating === 0 && this.#callers === 0;
  }

  /** The place of a sandbox that is there already. */
  held(sandboxId: string): Place {
    return this.#place(sandboxId, false);
  }

  /** A new sandbox; a fresh one serves already. Rejects with `HostFull`, `LauncherRefusal`, `LauncherUnavailable`, or the signal's reason. */
  async create(spec: CreateSandbox, signal: AbortSignal): Promise<Place> {
    this.#callers += 1;
    try {
      return await this.#create(spec, signal);
    } finally {
      this.#callers -= 1;
    }
  }

  /** For the pool: one attempt, nobody gives way. */
  async createSpare(spec: CreateSandbox, signal: AbortSignal): Promise<Place> {
    const made = await this.#attempt(spec, signal);
    if (made === null) throw new HostFull("The host's memory for sandboxes is taken");
    return this.held(made);
  }

  #place(sandboxId: string, serving: boolean): Place {
    let served = serving;
    let left = false;
    return {
      sandboxId,
      serve: () => {
        if (served || left) return;
        served = true;
        this.#serving += 1;
      },
      leave: () => {
        if (left) return;
        left = true;
        if (served) this.#serving -= 1;
        this.#wake();
      },
    };
  }

  #wake(): void {
    for (const wake of [...this.#freed]) wake();
  }

  async #create(spec: CreateSandbox, signal: AbortSignal): Promise<Place> {
    const deadline = performance.now() + this.#options.waitMs;
    for (;;) {
      const serving = spec.kind === "fresh";
      const made = serving ? await this.#attemptServing(spec, signal) : await this.#attempt(spec, signal);
      if (made !== null) return this.#place(made, serving);
      if (await this.#makeRoom()) continue;
      const left = deadline - performance.now();
      if (this.#serving === 0 || left <= 0) {
        // Who waits for this very call must not wait in vain.
        this.#wake();
        throw new HostFull("The host's memory for sandboxes is taken");
      }
      await this.#waitForFreed(left, signal);
    }
  }

  /** Counts from before the attempt: its memory is spoken for while the launcher works on it. */
  async #attemptServing(spec: CreateSandbox, signal: AbortSignal): Promise<string | null> {
    this.#serving += 1;
    let made: string | null = null;
    try {
      made = await this.#attempt(spec, signal);
      return made;
    } finally {
      if (made === null) this.#serving -= 1;
    }
  }

  async #makeRoom(): Promise<boolean> {
    for (const giveWay of this.#givers) if (await giveWay()) return true;
    return false;
  }

  /** The new sandbox's id; null when the host is full. */
  async #attempt(spec: CreateSandbox, signal: AbortSignal): Promise<string | null> {
    await this.#turn(signal);
    try {
      return (await this.#options.launcher.create(spec)).id;
    } catch (error) {
      if (error instanceof LauncherRefusal && error.code === "host_full") return null;
      throw error;
    } finally {
      this.#creating -= 1;
      const [next] = this.#turns;
      if (next !== undefined) {
        this.#turns.delete(next);
        next();
      }
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#creating >= this.#options.concurrency) {
      await new Promise<void>((resolve, reject) => {
        const go = () => {
          signal.removeEventListener("abort", abort);
          resolve();
        };
        const abort = () => {
          this.#turns.delete(go);
          reject(signal.reason);
        };
        signal.addEventListener("abort", abort, { once: true });
        this.#turns.add(go);
      });
    }
    this.#creating += 1;
  }

  #waitForFreed(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        this.#freed.delete(wake);
        action();
      };
      const wake = () => settle(resolve);
      const abort = () => settle(() => reject(signal.reason));
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", abort, { once: true });
      this.#freed.add(wake);
    });
  }
}
