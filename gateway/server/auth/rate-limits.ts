/**
 * How often one caller may ask: the reference's windows, whose numbers LibreChat's retries are made for. A token speaks
 * for one user. A key or a private network speaks for a whole LibreChat, so these have ten times as much.
 *
 * `POST /run` has no window: its sessions' queues and the host's admission bound it.
 */
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { type Principal, principalKey } from "./principal.ts";

export type LimitedAction = "exec" | "upload" | "download" | "files";

export interface Window {
  readonly points: number;
  readonly seconds: number;
}

export const WINDOWS: Readonly<Record<LimitedAction, Window>> = {
  exec: { points: 20, seconds: 30 },
  upload: { points: 30, seconds: 300 },
  download: { points: 60, seconds: 60 },
  files: { points: 120, seconds: 60 },
};
export const SHARED_CALLER_FACTOR = 10;

const MESSAGES: Readonly<Record<LimitedAction, string>> = {
  exec: "Too many execution requests, please try again later.",
  upload: "Too many upload requests, please try again later.",
  download: "Too many download requests, please try again later.",
  files: "Too many file requests, please try again later.",
};

/** Callers remembered per window; beyond it the oldest window is forgotten. */
const MOST_CALLERS = 10_000;

export interface RateDecision {
  readonly allowed: boolean;
  readonly retryAfterSeconds: number;
  /** Draft 6 of the RateLimit header fields, for refused and allowed requests alike; seconds, never a date. */
  readonly headers: Readonly<Record<string, string>>;
  readonly message: string;
}

/** One window over many callers, in bounded memory. */
class BoundedLimiter {
  readonly #window: Window;
  readonly #limiter: RateLimiterAbstract;
  /** When each caller's window ends; windows are equally long, so the first inserted ends first. */
  readonly #endsAtMs = new Map<string, number>();

  constructor(window: Window) {
    this.#window = window;
    this.#limiter = new RateLimiterMemory({ points: window.points, duration: window.seconds });
  }

  async consume(key: string): Promise<{ allowed: boolean; result: RateLimiterRes }> {
    await this.#remember(key);
    try {
      return { allowed: true, result: await this.#limiter.consume(key) };
    } catch (refusal) {
      if (refusal instanceof RateLimiterRes) return { allowed: false, result: refusal };
      throw refusal;
    }
  }

  async #remember(key: string): Promise<void> {
    const now = Date.now();
    if ((this.#endsAtMs.get(key) ?? 0) > now) return;
    this.#endsAtMs.delete(key);
    this.#endsAtMs.set(key, now + this.#window.seconds * 1000);
    if (this.#endsAtMs.size <= MOST_CALLERS) return;
    const oldest = this.#endsAtMs.keys().next();
    if (oldest.done) return;
    this.#endsAtMs.delete(oldest.value);
    await this.#limiter.delete(oldest.value);
  }
}

export interface RateLimiter {
  /** Counts one request of this caller. */
  admit(principal: Principal, action: LimitedAction): Promise<RateDecision>;
}

class MemoryRateLimiter implements RateLimiter {
  readonly #limiters = new Map<string, { limiter: BoundedLimiter; window: Window }>();

  async admit(principal: Principal, action: LimitedAction): Promise<RateDecision> {
    const { limiter, window } = this.#limiter(action, principal.mode !== "jwt");
    const { allowed, result } = await limiter.consume(principalKey(principal));
    const seconds = Math.max(1, Math.ceil(result.msBeforeNext / 1000));
    return {
      allowed,
      retryAfterSeconds: seconds,
      headers: {
        "RateLimit-Policy": `${window.points};w=${window.seconds}`,
        "RateLimit-Limit": String(window.points),
        "RateLimit-Remaining": String(result.remainingPoints),
        "RateLimit-Reset": String(seconds),
      },
      message: MESSAGES[action],
    };
  }

  #limiter(action: LimitedAction, shared: boolean): { limiter: BoundedLimiter; window: Window } {
    const name = `${action}:${shared}`;
    const present = this.#limiters.get(name);
    if (present !== undefined) return present;
    const { points, seconds } = WINDOWS[action];
    const window = { points: shared ? points * SHARED_CALLER_FACTOR : points, seconds };
    const made = { limiter: new BoundedLimiter(window), window };
    this.#limiters.set(name, made);
    return made;
  }
}

/** Null: no limits. */
export function createRateLimiter(setting: "on" | "off"): RateLimiter | null {
  return setting === "on" ? new MemoryRateLimiter() : null;
}
