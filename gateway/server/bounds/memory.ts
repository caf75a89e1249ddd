/** Memory that may be held together for one purpose: taken before it is used, given back when it is not. */
import type { Caller } from "../auth/principal.ts";

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

/** The most that one user may have of a budget, and one who speaks for many. */
const USERS_SHARE = 0.5;
const SHARED_SHARE = 0.75;

interface Waiter {
  readonly bytes: number;
  readonly holder: Caller;
  readonly grant: (hold: Hold) => void;
}

export class MemoryBudget {
  readonly bytes: number;
  readonly #holders = new Map<string, number>();
  readonly #waiting = new Set<Waiter>();
  #held = 0;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  get held(): number {
    return this.#held;
  }

  /** Null when there is not so much, for anybody or for this holder. */
  take(bytes: number, holder: Caller): Hold | null {
    const hold = this.#open(holder);
    return hold.grow(bytes) ? hold : null;
  }

  /** Waits its turn, first come first served, but for holders who have their share. Rejects with `MemoryTaken`. */
  async wait(bytes: number, holder: Caller, withinMs: number): Promise<Hold> {
    const wanted = Math.min(bytes, this.#mostOf(holder));
    const hold = this.#waiting.size === 0 ? this.take(wanted, holder) : null;
    if (hold !== null) return hold;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        bytes: wanted,
        holder,
        grant: (granted) => {
          clearTimeout(timer);
          resolve(granted);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        reject(new MemoryTaken(`${wanted} bytes did not come free in ${withinMs} ms`));
        this.#wake();
      }, withinMs);
      this.#waiting.add(waiter);
      this.#wake();
    });
  }

  #mostOf({ shared }: Caller): number {
    return Math.floor(this.bytes * (shared ? SHARED_SHARE : USERS_SHARE));
  }

  #open(holder: Caller): Hold {
    let mine = 0;
    const change = (bytes: number) => {
      mine += bytes;
      this.#held += bytes;
      const now = (this.#holders.get(holder.key) ?? 0) + bytes;
      if (now === 0) this.#holders.delete(holder.key);
      else this.#holders.set(holder.key, now);
    };
    return {
      grow: (bytes) => {
        if (this.#held + bytes > this.bytes) return false;
        if ((this.#holders.get(holder.key) ?? 0) + bytes > this.#mostOf(holder)) return false;
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
      // Nobody smaller goes before one who waits for a place alone.
      if (this.#held + waiter.bytes > this.bytes) return;
      const hold = this.take(waiter.bytes, waiter.holder);
      if (hold === null) continue;
      this.#waiting.delete(waiter);
      waiter.grant(hold);
    }
  }
}
