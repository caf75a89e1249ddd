/**
 * Making sandboxes: how many are made at once, and what happens when the host's memory is spoken for. The launcher
 * counts the memory; this side decides who gives way and who waits.
 */
import type { CreateSandbox, Sandbox } from "../../common/protocol/launcher-api.ts";
import { type LauncherClient, LauncherRefusal } from "../../common/protocol/launcher-client.ts";

export interface AdmissionOptions {
  readonly launcher: Pick<LauncherClient, "create">;
  /** Sandboxes that are made at the same time; each costs about two seconds of one CPU. */
  readonly concurrency: number;
  /** How long a call waits for a running call without a session to end, when the host is full. */
  readonly waitMs: number;
}

/** Every byte of the sandboxes' memory is taken. */
export class HostFull extends Error {
  override readonly name = "HostFull";
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #turns = new Set<() => void>();
  readonly #freed = new Set<() => void>();
  #creating = 0;
  /** Within `create`, also between two attempts: room that is made for them is not for a spare sandbox. */
  #callers = 0;
  #passing = 0;
  /** Removes one unused pool sandbox; false when there is none. */
  #giveWay: () => Promise<boolean> = () => Promise.resolve(false);

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Who is asked for a sandbox that nobody uses when a session needs its memory. */
  onFull(giveWay: () => Promise<boolean>): void {
    this.#giveWay = giveWay;
  }

  /** True when making a spare sandbox now would keep no caller waiting. */
  get quiet(): boolean {
    return this.#creating === 0 && this.#callers === 0;
  }

  /**
   * Brackets a call whose sandbox is removed afterwards: as long as there is one, waiting makes sense. A fresh
   * sandbox that `create` makes is entered already.
   */
  enter(): void {
    this.#passing += 1;
  }

  leave(): void {
    this.#passing -= 1;
    this.freed();
  }

  /** A sandbox is gone: whoever waits for memory tries again. */
  freed(): void {
    for (const wake of [...this.#freed]) wake();
  }

  /** Rejects with `HostFull`, `LauncherRefusal`, `LauncherUnavailable`, or the signal's reason. */
  async create(spec: CreateSandbox, signal: AbortSignal): Promise<Sandbox> {
    this.#callers += 1;
    try {
      return await this.#create(spec, signal);
    } finally {
      this.#callers -= 1;
    }
  }

  async #create(spec: CreateSandbox, signal: AbortSignal): Promise<Sandbox> {
    const deadline = performance.now() + this.#options.waitMs;
    for (;;) {
      const made =
        spec.kind === "fresh" ? await this.#enterFresh(spec, signal) : await this.#attempt(spec, signal);
      if (made !== "full") return made;
      if (await this.#giveWay()) continue;
      const left = deadline - performance.now();
      if (this.#passing === 0 || left <= 0) {
        // Who waits for this very call must not wait in vain.
        this.freed();
        throw new HostFull("The host's memory for sandboxes is taken");
      }
      await this.#waitForFreed(left, signal);
    }
  }

  /** Counts from before the attempt: its memory is spoken for while the launcher works on it. */
  async #enterFresh(spec: CreateSandbox, signal: AbortSignal): Promise<Sandbox | "full"> {
    this.#passing += 1;
    let made: Sandbox | "full" = "full";
    try {
      made = await this.#attempt(spec, signal);
      return made;
    } finally {
      if (made === "full") this.#passing -= 1;
    }
  }

  /** For the pool: one attempt, nobody gives way. */
  async createSpare(spec: CreateSandbox, signal: AbortSignal): Promise<Sandbox> {
    const made = await this.#attempt(spec, signal);
    if (made === "full") throw new HostFull("The host's memory for sandboxes is taken");
    return made;
  }

  async #attempt(spec: CreateSandbox, signal: AbortSignal): Promise<Sandbox | "full"> {
    await this.#turn(signal);
    try {
      return await this.#options.launcher.create(spec);
    } catch (error) {
      if (error instanceof LauncherRefusal && error.code === "host_full") return "full";
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
