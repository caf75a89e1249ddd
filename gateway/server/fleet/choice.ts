/** Which host takes what nobody has. Pure. */

interface Candidate {
  readonly id: string;
  /** `up`: it takes sessions. */
  readonly state: string;
  /** Sandboxes that fit beside those that run. */
  readonly free: number;
}

/** Of two other hosts by chance: always the best one would get everything at once. `random`: from 0 to below 1. */
export function betterOfTwo<H extends Candidate>(
  hosts: readonly H[],
  here: string,
  random: () => number = Math.random,
): H | null {
  const others = hosts.filter(({ id, state }) => state === "up" && id !== here);
  const any = () => others[Math.floor(random() * others.length)] ?? null;
  const [one, other] = [any(), any()];
  return one !== null && other !== null && other.free > one.free ? other : one;
}

/** This host while it may take sessions (`mine`) and has room, else a better one. Null: nobody can. */
export function takerOf<H extends Candidate>(
  mine: { readonly id: string; readonly mayTake: boolean; readonly free: number },
  better: () => H | null,
): string | null {
  if (mine.mayTake && mine.free > 0) return mine.id;
  const other = better();
  if (mine.mayTake && (other === null || other.free <= 0)) return mine.id;
  return other?.id ?? null;
}
