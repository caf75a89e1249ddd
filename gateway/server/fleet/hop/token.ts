/**
 * What one host tells another with a call that it forwards: for whom it is, which session in which epoch, and that the caller's rate is
 * counted. Signed with the fleet's key, good for half a minute by the engine's clock, and once.
 */
import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { sameText } from "../../../common/same-text.ts";

export const HOP_HEADER = "x-kernelyard-hop";

/**
 * A JWT (RFC 7519), and its header is always this one: what says something else is not a host's. By the standard library, because each call
 * of a session elsewhere signs and reads one: WebCrypto takes two turns of other threads for it, half a millisecond of a call.
 */
const HEADER = base64url(JSON.stringify({ alg: "HS256", typ: "kernelyard-hop+jwt" }));
const GOOD_FOR_S = 30;
/** Two hosts know the engine's clock each by its own round trips. */
const TOLERANCE_S = 5;
/** Ids that were seen while they were good; beyond it the oldest is forgotten. */
const MOST_SEEN = 100_000;

export interface Hop {
  readonly digest: string;
  /** Null: no epoch is meant, whoever has the session looks at it as it is. */
  readonly epoch: number | null;
}

const Payload = z.object({
  aud: z.string(),
  digest: z.string(),
  epoch: z.number().int().nullable(),
  exp: z.number(),
  iat: z.number(),
  iss: z.string(),
  jti: z.string(),
});

export type HopVerdict =
  | { readonly kind: "good"; readonly hop: Hop; readonly from: string }
  | { readonly kind: "refused"; readonly why: string };

export class HopTokens {
  readonly #host: string;
  readonly #key: KeyObject;
  readonly #seen = new Map<string, number>();

  /** `secret`: `KERNELYARD_FLEET_KEY`. A token of another fleet or for another host is worth nothing here. */
  constructor({
    fleet,
    host,
    secret,
  }: { readonly fleet: string; readonly host: string; readonly secret: string }) {
    this.#host = host;
    this.#key = createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", `kernelyard hop ${fleet}`, 32)));
  }

  /** `now`: milliseconds of the engine's clock. */
  sign({ digest, epoch }: Hop, to: string, now: number): string {
    const iat = Math.floor(now / 1000);
    const payload: z.infer<typeof Payload> = {
      digest,
      epoch,
      iss: this.#host,
      aud: to,
      iat,
      exp: iat + GOOD_FOR_S,
      jti: randomUUID(),
    };
    const body = base64url(JSON.stringify(payload));
    return `${HEADER}.${body}.${this.#signature(body)}`;
  }

  verify(token: string | undefined, now: number): HopVerdict {
    if (token === undefined) return refused("the call is not signed by a host of this fleet");
    const [header, body = "", signature = "", ...more] = token.split(".", 4);
    if (header !== HEADER || more.length > 0) return refused("what the call is signed with is no host's");
    if (!sameText(signature, this.#signature(body)))
      return refused(
        "the host that signed the call has another KERNELYARD_FLEET_KEY, or is of another fleet",
      );
    const read = Payload.safeParse(JSON.parse(Buffer.from(body, "base64url").toString()));
    if (!read.success) return refused("the host that signed the call is of another version");
    const { aud, digest, epoch, exp, iat, iss, jti } = read.data;
    if (aud !== this.#host) return refused("the call was signed for another host");
    const second = Math.floor(now / 1000);
    if (exp <= second - TOLERANCE_S || second - iat > GOOD_FOR_S + TOLERANCE_S)
      return refused(`the call was signed ${second - iat} s ago; ${GOOD_FOR_S} s is the most`);
    if (iat > second + TOLERANCE_S) return refused(`the call was signed ${iat - second} s from now`);
    if (this.#seen.has(jti)) return refused("the call came before");
    this.#remember(jti, now);
    return { kind: "good", hop: { digest, epoch }, from: iss };
  }

  #signature(body: string): string {
    return createHmac("sha256", this.#key).update(`${HEADER}.${body}`).digest("base64url");
  }

  #remember(id: string, now: number): void {
    this.#seen.set(id, now);
    for (const [old, at] of this.#seen) {
      if (this.#seen.size <= MOST_SEEN && now - at < (GOOD_FOR_S + 2 * TOLERANCE_S) * 1000) break;
      this.#seen.delete(old);
    }
  }
}

function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}

const refused = (why: string): HopVerdict => ({ kind: "refused", why });
