/** Two ends of a connection that passes through us: what one says the other hears, and both end together. */
import type { Duplex } from "node:stream";

/** They are among `open` until they close, so that somebody can end them. */
export function joined<T extends Duplex>(near: T, far: T, open: Set<T>): void {
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    open.add(one);
    one.pipe(other);
    one.on("error", () => {});
    one.on("close", () => {
      open.delete(one);
      other.destroy();
    });
  }
}
