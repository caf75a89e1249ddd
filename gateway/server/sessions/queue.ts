/** One call at a time, first come first served, bounded in length and in waiting time. */

export type Turn = "granted" | "busy" | "cancelled" | "closed";

/** `service`: looks after the session itself, also when callers get no turn any more. */
export type Asker = "caller" | "service";

interface Waiter {
  readonly asker: Asker;
  readonly grant: (turn: Turn) => void;
}

export class Queue {
  readonly #maxWaiting: number;
  readonly #waiting = new Set<Waiter>();
  #taken = false;
  #closed = false;

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  get idle(): boolean {
    return !this.#taken;
  }

  get length(): number {
    return this.#waiting.size;
  }

  /**
   * `granted`: the caller has the turn and must `release` it. `busy`: the queue is full, or `waitMs` went by.
   * `cancelled`: the signal was aborted. `closed`: no caller gets a turn any more.
   */
  async acquire(waitMs: number, signal: AbortSignal, asker: Asker = "caller"): Promise<Turn> {
    if (signal.aborted) return "cancelled";
    if (this.#closed && asker === "caller") return "closed";
    if (!this.#taken) {
      this.#taken = true;
      return "granted";
    }
    if (this.#waiting.size >= this.#maxWaiting) return "busy";
    return new Promise<Turn>((resolve) => {
      const settle = (turn: Turn) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", cancel);
        this.#waiting.delete(waiter);
        resolve(turn);
      };
      const waiter: Waiter = { asker, grant: settle };
      const timer = setTimeout(() => settle("busy"), waitMs);
      const cancel = () => settle("cancelled");
      signal.addEventListener("abort", cancel, { once: true });
      this.#waiting.add(waiter);
    });
  }

  /** Takes the turn only when nobody has it. */
  tryAcquire(): boolean {
    if (this.#taken) return false;
    this.#taken = true;
    return true;
  }

  /** Callers who wait, or come, get no turn; who has it keeps it. */
  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiting]) if (waiter.asker === "caller") waiter.grant("closed");
  }

  /** Passes the turn to who waits longest. */
  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken = false;
    else next.grant("granted");
  }
}
