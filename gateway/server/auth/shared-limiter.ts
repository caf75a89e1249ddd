/**
 * One window over many callers, for all hosts of a fleet. It is counted in the fleet's engine; a caller who is far from the end of his window
 * does not wait for that, and where the engine does not answer each host counts for itself.
 */
import { hash } from "node:crypto";
import {
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from "rate-limiter-flexible";
import type { Consumed, Limiter, LimiterStore, Window } from "./rate-limits.ts";

/** With less than this part of his window left a caller waits until he is counted. */
const NEAR_THE_END = 0.2;
/** Callers whose last count is remembered; beyond it the oldest is asked for again. */
const MOST_REMEMBERED = 10_000;

interface Last {
  remaining: number;
  readonly endsAt: number;
}

export class SharedLimiter implements Limiter {
  readonly #window: Window;
  readonly #store: RateLimiterAbstract;
  readonly #last = new Map<string, Last>();

  constructor(name: string, window: Window, { client, prefix }: LimiterStore) {
    this.#window = window;
    const bounds = { points: window.points, duration: window.seconds };
    this.#store = new RateLimiterRedis({
      ...bounds,
      storeClient: client,
      keyPrefix: `${prefix}${name}`,
      rejectIfRedisNotReady: true,
      insuranceLimiter: new RateLimiterMemory(bounds),
    });
  }

  consume(caller: string): Promise<Consumed> {
    // Nobody's name leaves this host.
    const key = hash("sha256", caller, "base64url");
    const last = this.#last.get(key);
    const msBeforeNext = (last?.endsAt ?? 0) - performance.now();
    const counted = this.#count(key);
    if (last === undefined || msBeforeNext <= 0 || last.remaining <= this.#window.points * NEAR_THE_END)
      return counted;
    last.remaining -= 1;
    return Promise.resolve({ allowed: true, result: { remainingPoints: last.remaining, msBeforeNext } });
  }

  async #count(key: string): Promise<Consumed> {
    const { allowed, result } = await this.#store.consume(key).then(
      (result) => ({ allowed: true, result }),
      (refusal: unknown) => {
        if (refusal instanceof RateLimiterRes) return { allowed: false, result: refusal };
        throw refusal;
      },
    );
    this.#last.delete(key);
    this.#last.set(key, {
      remaining: result.remainingPoints,
      endsAt: performance.now() + result.msBeforeNext,
    });
    const [oldest] = this.#last.keys();
    if (this.#last.size > MOST_REMEMBERED && oldest !== undefined) this.#last.delete(oldest);
    return { allowed, result };
  }
}
