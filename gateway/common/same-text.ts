/** Compares what somebody presents with a secret, or with what a secret makes. */
import { timingSafeEqual } from "node:crypto";

/** Takes as long whatever differs; only the lengths may show. */
export function sameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
