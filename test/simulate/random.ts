/** Numbers by chance, the same for the same seed. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  between(least: number, below: number): number {
    return least + (below - least) * this.next();
  }

  index(length: number): number {
    return Math.floor(this.next() * length);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  /** Around 0, with deviation 1 (Box-Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  /** At least 1, with this mean. */
  geometric(mean: number): number {
    return 1 + Math.floor(Math.log(1 - this.next()) / Math.log(1 - 1 / Math.max(mean, 1.000001)));
  }

  /** Half of them are below `p50`, one in a hundred is above `p99`. */
  spread({ p50, p99 }: Spread): number {
    return p50 * Math.exp((Math.log(Math.max(p99, p50) / p50) / Z99) * this.normal());
  }
}

/** Of the normal distribution. */
const Z99 = 2.3263;

export interface Spread {
  readonly p50: number;
  readonly p99: number;
}
