/**
 * Requests from their beginning until the last byte of their response is out. Bounded for each caller; a stop waits for
 * them, and what comes after it is refused.
 */
import { ServerResponse } from "node:http";
import type { Context } from "hono";
import { ServiceError } from "./errors.ts";

/** A token's user; LibreChat's helpers send 30 at a time. */
const MOST_OF_A_USER = 128;
/** A key or a private network speaks for many users. */
const MOST_OF_A_KEY = 768;
const RETRY_AFTER_S = 1;

class HungUp extends Error {
  override readonly name = "HungUp";
  override readonly message = "the caller has hung up";
}

export class InFlight {
  readonly #ofCaller = new Map<string, number>();
  #count = 0;
  #stopping = false;
  #idle: PromiseWithResolvers<void> | null = null;

  get count(): number {
    return this.#count;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** What follows belongs to a request. Resolves when its response is out, or its connection is gone: then `gone` is aborted. */
  begin(c: Context, handled: Promise<void>, gone: AbortController): Promise<void> {
    this.#count += 1;
    const ended = responseEnd(c, handled, gone);
    void ended.then(() => {
      this.#count -= 1;
      if (this.#count === 0) this.#idle?.resolve();
    });
    return ended;
  }

  /** Throws 429 when this caller has too many. */
  admit(caller: string, shared: boolean, ended: Promise<void>): void {
    const most = shared ? MOST_OF_A_KEY : MOST_OF_A_USER;
    const present = this.#ofCaller.get(caller) ?? 0;
    if (present >= most) {
      throw new ServiceError(
        "rate_limited",
        `${most} requests of this caller are in progress; no more are taken`,
        {
          retryAfterSeconds: RETRY_AFTER_S,
          headers: { Connection: "close" },
        },
      );
    }
    this.#ofCaller.set(caller, present + 1);
    void ended.then(() => {
      const left = (this.#ofCaller.get(caller) ?? 1) - 1;
      if (left === 0) this.#ofCaller.delete(caller);
      else this.#ofCaller.set(caller, left);
    });
  }

  /** From now on new requests are refused. */
  stop(): void {
    this.#stopping = true;
  }

  /** Resolves when the last response is out. */
  async drained(): Promise<void> {
    if (this.#count === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }
}

/** Node's side of the response; null when it is not served by Node. */
export function outgoingOf(c: Context): ServerResponse | null {
  const bindings: unknown = c.env;
  if (typeof bindings !== "object" || bindings === null || !("outgoing" in bindings)) return null;
  return bindings.outgoing instanceof ServerResponse ? bindings.outgoing : null;
}

/** Served by Node, a response is out when it is closed; otherwise when it was handed over. */
function responseEnd(c: Context, handled: Promise<void>, gone: AbortController): Promise<void> {
  const outgoing = outgoingOf(c);
  if (outgoing === null) {
    const { signal } = c.req.raw;
    signal.addEventListener("abort", () => gone.abort(signal.reason), { once: true });
    return handled;
  }
  return new Promise((resolve) =>
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) gone.abort(new HungUp());
      resolve();
    }),
  );
}
