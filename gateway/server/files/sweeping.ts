/** When a store sweeps: at once and every so often, or when it is asked; one sweep at a time, and none after the end. */
import { type SweepResult, storeClosed } from "./store.ts";

export interface SweepSchedule {
  /** Time between sweeps; the first one starts at once. Absent: only on `sweep()`. */
  readonly sweepEveryMs?: number;
  /** Told when a sweep in the background fails. */
  readonly onSweepError?: (error: unknown) => void;
}

/** What both stores are opened with. */
export interface Retention extends SweepSchedule {
  /** Time after a file's last write when it is gone. */
  readonly ttlMs: number;
  readonly now?: () => number;
}

export class Sweeping {
  readonly #sweep: (end: AbortSignal) => Promise<SweepResult>;
  readonly #end = new AbortController();
  readonly #timer: NodeJS.Timeout | null;
  #running: Promise<SweepResult> | null = null;

  /** `sweep` leaves off early once its signal is aborted. */
  constructor(schedule: SweepSchedule, sweep: (end: AbortSignal) => Promise<SweepResult>) {
    this.#sweep = sweep;
    const { sweepEveryMs, onSweepError } = schedule;
    const run = () => {
      this.run().catch((error: unknown) => {
        if (!this.#end.signal.aborted) onSweepError?.(error);
      });
    };
    this.#timer = sweepEveryMs === undefined ? null : setInterval(run, sweepEveryMs).unref();
    if (this.#timer !== null) run();
  }

  /** The sweep that runs, or a new one. */
  async run(): Promise<SweepResult> {
    if (this.#end.signal.aborted) throw storeClosed();
    this.#running ??= this.#sweep(this.#end.signal).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Resolves when no sweep runs any more. */
  async stop(): Promise<void> {
    this.#end.abort();
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running?.catch(() => {});
  }
}
