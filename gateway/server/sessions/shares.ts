/** Who may have how much of a host's places, and in which order a full one is made room on. Pure. */
import type { Caller } from "../auth/principal.ts";

/** Whose sandboxes are meant; null: nobody's. */
export type From = (holder: Caller | null) => boolean;

/** The most of the places that calls of one user run in, and of one who speaks for many: others find one at any time. */
const USERS_SHARE = 0.5;
const SHARED_SHARE = 0.9;
/** The service's own check has a place that no caller takes; a host of fewer has none to spare. */
const OWN_PLACE_FROM = 4;

export const placesForCallers = (capacity: number): number =>
  capacity < OWN_PLACE_FROM ? capacity : capacity - 1;

/** Of the places for callers. */
export const mostOf = (places: number, { shared }: Pick<Caller, "shared">): number =>
  Math.max(1, Math.floor(places * (shared ? SHARED_SHARE : USERS_SHARE)));

const anybody: From = () => true;

/** Those go first who have more than a caller's share of sandboxes, and of them the one who wants another. */
export function askedToGive(caller: Caller | null, hasShare: (holder: Caller) => boolean): readonly From[] {
  const overShare: From = (holder) => holder !== null && hasShare(holder);
  const own: From = (holder) => holder !== null && holder.key === caller?.key;
  return caller !== null && overShare(caller) ? [own, overShare, anybody] : [overShare, anybody];
}
