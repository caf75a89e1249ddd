/** How many warm sandboxes calls without a session will want, learned from those that came. */

/** Calls this close together find no time to replace what they took. */
const TOGETHER_MS = 10_000;
/** A burst is expected again, less and less. */
const HALF_LIFE_MS = 10 * 60_000;

export interface PoolBounds {
  readonly least: number;
  readonly most: number;
}

/** While nobody knows what the host holds, or how fast it will be. */
export const UNKNOWN_HOST: PoolBounds = { least: 1, most: 1 };
/** Where each costs two seconds of a CPU, and its memory, whether it is used or not. */
export const COLD_HOST: PoolBounds = { least: 2, most: 2 };
/** Enough for a chat that calls one after another, and a small share of what the host holds. */
const USUAL = 6;

/** A quarter of a host for calls that may come, half of it for those that do. `capacity`: sandboxes that the host holds. */
export function boundsFor(capacity: number): PoolBounds {
  const least = Math.max(1, Math.min(USUAL, Math.floor(capacity / 4)));
  return { least, most: Math.max(least, Math.floor(capacity / 2)) };
}

export class Demand {
  #bounds: PoolBounds;
  #arrivals: number[] = [];
  #peak = 0;
  #peakAt = 0;

  constructor(bounds: PoolBounds) {
    this.#bounds = bounds;
  }

  /** Whether they differ from those before. */
  bound(bounds: PoolBounds): boolean {
    const { least, most } = this.#bounds;
    this.#bounds = bounds;
    return bounds.least !== least || bounds.most !== most;
  }

  /** `now` in milliseconds of a clock that never goes back. */
  arrived(now: number): void {
    this.#arrivals = this.#arrivals.filter((at) => now - at < TOGETHER_MS).slice(1 - this.#bounds.most);
    this.#arrivals.push(now);
    if (this.#arrivals.length < this.#expected(now)) return;
    this.#peak = this.#arrivals.length;
    this.#peakAt = now;
  }

  wanted(now: number): number {
    const { least, most } = this.#bounds;
    return Math.max(least, Math.min(most, Math.round(this.#expected(now))));
  }

  #expected(now: number): number {
    return this.#peak * 0.5 ** ((now - this.#peakAt) / HALF_LIFE_MS);
  }
}
