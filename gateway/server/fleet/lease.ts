/**
 * This host's leave to work on sessions, by monotonic time alone: whatever the clocks of other machines say, it ends here
 * before anybody can take a session over. A call is begun only while it is valid; one that runs is not ended with it.
 */

/** The engine lets a host's lease end so long after its last beat. */
export const LEASE_MS = 10_000;
/** So long before that the host itself stops: for a pause between looking at the lease and what follows. */
export const LEASE_MARGIN_MS = 3_000;

export interface LeaseTimes {
  readonly leaseMs: number;
  readonly marginMs: number;
}

/**
 * What a beat meant for what is held. `kept`: nobody could claim it meanwhile. `forgotten`: the engine lost its data while the
 * lease was valid, so what is held is to be said again. `lapsed`: others could claim it; the engine knows whose it is now.
 */
export type Continuity = "kept" | "forgotten" | "lapsed";

export class Lease {
  readonly #times: LeaseTimes;
  readonly #now: () => number;
  #validUntil = Number.NEGATIVE_INFINITY;
  #joined: string | null = null;

  /** `now`: milliseconds that never jump. */
  constructor(times: LeaseTimes, now: () => number) {
    this.#times = times;
    this.#now = now;
  }

  get valid(): boolean {
    return this.#now() < this.#validUntil;
  }

  /** Milliseconds; 0: it is over. */
  get left(): number {
    return Math.max(0, this.#validUntil - this.#now());
  }

  /**
   * `sentAt`: before the beat was on its way. `joined`: names the lease that the beat renewed or began. It is compared with that of the
   * last answer which arrived: a beat whose answer was lost may have begun another one meanwhile.
   */
  renewed(sentAt: number, joined: string): Continuity {
    const continuity = joined === this.#joined ? "kept" : this.valid ? "forgotten" : "lapsed";
    this.#joined = joined;
    const { leaseMs, marginMs } = this.#times;
    this.#validUntil = Math.max(this.#validUntil, sentAt + leaseMs - marginMs);
    return continuity;
  }

  /** At once, whatever the engine thinks: another process has this host's name, or the host leaves. */
  end(): void {
    this.#validUntil = Number.NEGATIVE_INFINITY;
  }
}
