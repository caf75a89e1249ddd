/**
 * What one host tells another with a call that it forwards: for whom it is, which session in which epoch, and that the caller's rate is
 * counted. Signed with the fleet's key, good for half a minute by the engine's clock, and once.
 */
import { createSecretKey, hkdfSync, type KeyObject, randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { jwtVerify, SignJWT } from "jose";

export const HOP_HEADER = "x-kernelyard-hop";

const TYPE = "kernelyard-hop+jwt";
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
  digest: z.string(),
  epoch: z.number().int().nullable(),
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
  sign({ digest, epoch }: Hop, to: string, now: number): Promise<string> {
    const second = Math.floor(now / 1000);
    return new SignJWT({ digest, epoch })
      .setProtectedHeader({ alg: "HS256", typ: TYPE })
      .setIssuer(this.#host)
      .setAudience(to)
      .setIssuedAt(second)
      .setExpirationTime(second + GOOD_FOR_S)
      .setJti(randomUUID())
      .sign(this.#key);
  }

  async verify(token: string | undefined, now: number): Promise<HopVerdict> {
    if (token === undefined)
      return { kind: "refused", why: "the call is not signed by a host of this fleet" };
    let payload: unknown;
    try {
      const verified = await jwtVerify(token, this.#key, {
        algorithms: ["HS256"],
        typ: TYPE,
        audience: this.#host,
        requiredClaims: ["exp", "iat", "jti", "iss"],
        maxTokenAge: GOOD_FOR_S,
        clockTolerance: TOLERANCE_S,
        currentDate: new Date(now),
      });
      payload = verified.payload;
    } catch (error) {
      return { kind: "refused", why: error instanceof Error ? error.message : String(error) };
    }
    const { digest, epoch, iss, jti } = Payload.parse(payload);
    if (this.#seen.has(jti)) return { kind: "refused", why: "the call came before" };
    this.#remember(jti, now);
    return { kind: "good", hop: { digest, epoch }, from: iss };
  }

  #remember(id: string, now: number): void {
    this.#seen.set(id, now);
    for (const [old, at] of this.#seen) {
      if (this.#seen.size <= MOST_SEEN && now - at < (GOOD_FOR_S + 2 * TOLERANCE_S) * 1000) break;
      this.#seen.delete(old);
    }
  }
}
