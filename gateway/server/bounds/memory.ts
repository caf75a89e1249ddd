/** Memory that may be held together for one purpose: taken before it is used, given back when it is not. */

/** A part of a budget. */
export interface Hold {
  /** False, and nothing is taken, when there is not so much. */
  grow(bytes: number): boolean;
  shrink(bytes: number): void;
  /** Gives all of it back; once or more often. */
  release(): void;
}

/** No part of the budget came free in time. */
export class MemoryTaken extends Error {
  override readonly name = "MemoryTaken";
}

export interface MemoryBudgetOptions {
  readonly bytes: number;
  /** The most that one holder may have of it, from 0 to 1. */
  readonly share?: number;
}

interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

export class MemoryBudget {
  readonly bytes: number;
  readonly #most: number;
  readonly #holders = new Map<string, number>();
  readonly #waiting = new Set<Waiter>();
  #held = 0;

  constructor({ bytes, share = 1 }: MemoryBudgetOptions) {
    this.bytes = bytes;
    this.#most = bytes * share;
  }

  get held(): number {
    return this.#held;
  }

  /** Null when there is not so much, for anybody or for this holder. */
  take(bytes: number, holder: string): Hold | null {
    const hold = this.#open(holder);
    return hold.grow(bytes) ? hold : null;
  }

  /** Waits its turn, first come first served. Rejects with `MemoryTaken`. */
  async wait(bytes: number, holder: string, withinMs: number): Promise<Hold> {
    const wanted = Math.min(bytes, this.bytes);
    const hold = this.#waiting.size === 0 ? this.take(wanted, holder) : null;
    if (hold !== null) return hold;
    const granted = Promise.withResolvers<Hold>();
    const waiter: Waiter = {
      bytes: wanted,
      grant: () => {
        clearTimeout(timer);
        this.#waiting.delete(waiter);
        const given = this.#open(holder);
        given.grow(wanted);
        granted.resolve(given);
      },
    };
    const timer = setTimeout(() => {
      this.#waiting.delete(waiter);
      granted.reject(new MemoryTaken(`${wanted} bytes did not come free in ${withinMs} ms`));
    }, withinMs);
    this.#waiting.add(waiter);
    return granted.promise;
  }

  #open(holder: string): Hold {
    let mine = 0;
    const change = (bytes: number) => {
      mine += bytes;
      this.#held += bytes;
      const now = (this.#holders.get(holder) ?? 0) + bytes;
      if (now === 0) this.#holders.delete(holder);
      else this.#holders.set(holder, now);
    };
    return {
      grow: (bytes) => {
        if (this.#held + bytes > this.bytes) return false;
        if ((this.#holders.get(holder) ?? 0) + bytes > this.#most) return false;
        change(bytes);
        return true;
      },
      shrink: (bytes) => {
        change(-Math.min(bytes, mine));
        this.#wake();
      },
      release: () => {
        change(-mine);
        this.#wake();
      },
    };
  }

  #wake(): void {
    for (const waiter of this.#waiting) {
      if (this.#held + waiter.bytes > this.bytes) return;
      waiter.grant();
    }
  }
}
