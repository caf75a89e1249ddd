/**
 * The time by which things are found to be old enough to delete. It never runs ahead: when the time of day jumps
 * forward (a board without a clock, a wrong answer from a time server) it goes on as before, when it jumps back it
 * follows. A process that starts long after the last one was seen believes the time of day only once that is certain:
 * until then nobody can tell a long rest from a wrong clock.
 */
import { mkdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** A rest that is longer is doubted. */
const LONG_REST_MS = 7 * 86_400_000;
/** Somebody who looks after the host has set its clock right by then. */
const DOUBTED_FOR_MS = 86_400_000;
const NOTE_EVERY_MS = 60_000;

export interface Clocks {
  /** Milliseconds since 1970, as the host believes. */
  readonly timeOfDay: () => number;
  /** Milliseconds that never jump. */
  readonly elapsed: () => number;
}

export class SteadyClock {
  readonly #clocks: Clocks;
  readonly #mark: string;
  readonly #startedAt: number;
  readonly #startedElapsed: number;
  readonly #doubted: number | null;
  #notedElapsed = Number.NEGATIVE_INFINITY;

  /** `mark`: a file of its own, whose mtime is what this clock said when it was last read. */
  constructor(mark: string, clocks: Clocks = { timeOfDay: Date.now, elapsed: () => performance.now() }) {
    this.#clocks = clocks;
    this.#mark = mark;
    this.#startedAt = clocks.timeOfDay();
    this.#startedElapsed = clocks.elapsed();
    const last = statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? null;
    this.#doubted = last !== null && this.#startedAt - last > LONG_REST_MS ? last : null;
  }

  /** Milliseconds since 1970. */
  readonly now = (): number => {
    const { elapsed, timeOfDay } = this.#clocks;
    const passed = elapsed() - this.#startedElapsed;
    const doubted = this.#doubted !== null && passed < DOUBTED_FOR_MS ? this.#doubted : null;
    const time = Math.min(timeOfDay(), (doubted ?? this.#startedAt) + passed);
    // What it said, and not what the host believes: a jump that it did not follow is doubted by the next process as well.
    if (doubted === null) this.#note(time / 1000);
    return time;
  };

  #note(seconds: number): void {
    const elapsed = this.#clocks.elapsed();
    if (elapsed - this.#notedElapsed < NOTE_EVERY_MS) return;
    this.#notedElapsed = elapsed;
    try {
      mkdirSync(dirname(this.#mark), { recursive: true, mode: 0o700 });
      writeFileSync(this.#mark, "");
      utimesSync(this.#mark, seconds, seconds);
    } catch {
      // A disk that takes nothing: the next start doubts the clock sooner, and nothing else.
    }
  }
}
