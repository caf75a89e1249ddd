/**
 * How often one caller may ask. A token speaks for one user, and has more than LibreChat asks for one at once: a
 * refusal there is a lost figure, a skill without its files, an image that cannot be read. A key or a private network
 * speaks for a whole LibreChat, so these have ten times as much.
 *
 * Every request counts against a wide window of its own, before its body is read; `POST /run` against no other: its
 * sessions' queues and the host's admission bound it.
 */
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { isOf, type Principal, principalKey, type Subject, speaksForMany } from "./principal.ts";

export type LimitedAction = "request" | "exec" | "upload" | "download" | "files";

export interface Window {
  readonly points: number;
  readonly seconds: number;
}

/** What LibreChat does for one user at once, by its own defaults and limits. */
export const LIBRECHAT = {
  /** `CONCURRENT_MESSAGE_MAX`. */
  messages: 2,
  /** Tool calls of one step of an agent run side by side. */
  toolCalls: 4,
  /** `read_file` of an image: at most 1 MiB in windows of 32 KiB, an execution each, without a retry after 429. */
  imageWindows: 32,
  /** The reference's own window of executions, in 30 s. */
  executions: 20,
  /** Skills of one message; each is one batch. */
  skills: 30,
  /** Files of one conversation: each is asked for before a run, and uploaded anew after a day. */
  files: 100,
  /** Files that one execution leaves: LibreChat downloads each of them. */
  outputs: 50,
} as const;

export const WINDOWS: Readonly<Record<LimitedAction, Window>> = {
  request: { points: 3000, seconds: 30 },
  // Two messages, each with four images beside the user's own calls.
  exec: { points: 300, seconds: 30 },
  // Two messages, each with all its skills and a whole conversation's files.
  upload: { points: 300, seconds: 300 },
  // Two messages, each with six full executions a minute.
  download: { points: 600, seconds: 60 },
  // Two messages at once, six times a minute.
  files: { points: 1200, seconds: 60 },
};
export const SHARED_CALLER_FACTOR = 10;

const MESSAGES: Readonly<Record<LimitedAction, string>> = {
  request: "Too many requests, please try again later.",
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

/** Where hosts count together. */
export interface LimiterStore {
  /** As `rate-limiter-flexible` takes it. */
  readonly client: unknown;
  /** Of all keys. */
  readonly prefix: string;
}

export interface Consumed {
  readonly allowed: boolean;
  readonly result: Pick<RateLimiterRes, "remainingPoints" | "msBeforeNext">;
}

/** One window over many callers. */
export interface Limiter {
  consume(caller: string): Promise<Consumed>;
  /** Of callers for whom `matches` holds; absent where only digests are known, whose windows end by themselves. */
  forget?(matches: (caller: string) => boolean): Promise<void>;
}

/** In bounded memory. */
export class BoundedLimiter implements Limiter {
  readonly #window: Window;
  readonly #limiter: RateLimiterAbstract;
  /** When each caller's window ends; windows are equally long, so the first inserted ends first. */
  readonly #endsAtMs = new Map<string, number>();

  constructor(window: Window) {
    this.#window = window;
    this.#limiter = new RateLimiterMemory({ points: window.points, duration: window.seconds });
  }

  async consume(key: string): Promise<Consumed> {
    await this.#remember(key);
    try {
      return { allowed: true, result: await this.#limiter.consume(key) };
    } catch (refusal) {
      if (refusal instanceof RateLimiterRes) return { allowed: false, result: refusal };
      throw refusal;
    }
  }

  async forget(matches: (caller: string) => boolean): Promise<void> {
    for (const key of [...this.#endsAtMs.keys()].filter(matches)) {
      this.#endsAtMs.delete(key);
      await this.#limiter.delete(key);
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
  forget(subject: Subject): Promise<void>;
}

class WindowedRateLimiter implements RateLimiter {
  readonly #limiters = new Map<string, { limiter: Limiter; window: Window }>();
  readonly #make: (name: string, window: Window) => Limiter;

  constructor(make: (name: string, window: Window) => Limiter) {
    this.#make = make;
  }

  async admit(principal: Principal, action: LimitedAction): Promise<RateDecision> {
    const { limiter, window } = this.#limiter(action, speaksForMany(principal));
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

  async forget(subject: Subject): Promise<void> {
    for (const { limiter } of this.#limiters.values()) await limiter.forget?.((key) => isOf(key, subject));
  }

  #limiter(action: LimitedAction, shared: boolean): { limiter: Limiter; window: Window } {
    const name = `${action}:${shared}`;
    const present = this.#limiters.get(name);
    if (present !== undefined) return present;
    const { points, seconds } = WINDOWS[action];
    const window = { points: shared ? points * SHARED_CALLER_FACTOR : points, seconds };
    const made = { limiter: this.#make(name, window), window };
    this.#limiters.set(name, made);
    return made;
  }
}

/** Null: no limits. `share`: how hosts count together; null: this one is alone. */
export function createRateLimiter(
  setting: "on" | "off",
  share: ((name: string, window: Window) => Limiter) | null = null,
): RateLimiter | null {
  return setting === "on"
    ? new WindowedRateLimiter(share ?? ((_, window) => new BoundedLimiter(window)))
    : null;
}
