/** Drills have a short form in `npm test` and a long one, `npm run drill`. */

export const LONG_FORM = process.env.DRILL === "long";

/** Numbers that come again with the same seed: from 0 to 1. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
