/** Who may use the console: whoever has the operator's key, for as long as a cookie says so, from the console's own pages. */
import { createHash, randomBytes } from "node:crypto";
import type { OperatorKey } from "../auth/operator.ts";
import { BoundedLimiter, type Limiter } from "../auth/rate-limits.ts";

/** Since it was last used. */
const SIGNED_IN_MS = 12 * 3_600_000;
/** Browsers at a time; one more signs the oldest out. */
const MOST_SIGNED_IN = 64;
/** Tries of one address, right or wrong. */
export const TRIES = { points: 10, seconds: 60 } as const;

export type SignIn =
  | { readonly kind: "signed_in"; readonly token: string }
  | { readonly kind: "wrong" }
  | { readonly kind: "too_many"; readonly retryAfterSeconds: number };

export class Access {
  readonly #key: OperatorKey;
  readonly #tries: Limiter = new BoundedLimiter(TRIES);
  /** By the digest of each token: until when. The one used longest ago comes first. */
  readonly #signedIn = new Map<string, number>();

  constructor(key: OperatorKey) {
    this.#key = key;
  }

  async signIn(key: string, address: string): Promise<SignIn> {
    const { allowed, result } = await this.#tries.consume(address);
    if (!allowed)
      return { kind: "too_many", retryAfterSeconds: Math.max(1, Math.ceil(result.msBeforeNext / 1000)) };
    if (!this.#key.accepts(key)) return { kind: "wrong" };
    const token = randomBytes(32).toString("base64url");
    this.#keep(digest(token));
    return { kind: "signed_in", token };
  }

  /** Whether somebody is signed in by this token, who stays so. */
  knows(token: string | undefined): boolean {
    if (token === undefined) return false;
    const known = digest(token);
    const until = this.#signedIn.get(known);
    if (until === undefined) return false;
    this.#signedIn.delete(known);
    if (until < Date.now()) return false;
    this.#keep(known);
    return true;
  }

  signOut(token: string | undefined): void {
    if (token !== undefined) this.#signedIn.delete(digest(token));
  }

  #keep(known: string): void {
    this.#signedIn.set(known, Date.now() + SIGNED_IN_MS);
    if (this.#signedIn.size <= MOST_SIGNED_IN) return;
    const [oldest] = this.#signedIn.keys();
    if (oldest !== undefined) this.#signedIn.delete(oldest);
  }
}

const digest = (token: string): string => createHash("sha256").update(token).digest("base64url");

/** Whether a request that changes something was made by a page of this console; browsers say where it comes from. */
export function isOwnRequest(header: (name: string) => string | undefined): boolean {
  const site = header("sec-fetch-site");
  if (site !== undefined && site !== "same-origin") return false;
  const origin = header("origin");
  if (origin === undefined) return site === "same-origin";
  return URL.canParse(origin) && new URL(origin).host === header("host");
}
