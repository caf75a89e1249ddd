/** What of the disk checkpoints leave alone. */
import type { Volumes } from "../volumes/volumes.ts";

/** At least so much is left free, for files of sessions that are awake. */
const LEAST_RESERVE_BYTES = 1024 * 1024 * 1024;

/** In bytes; the operator's reserve where that is more. */
export async function reserveOf(volumes: Pick<Volumes, "disk">): Promise<number> {
  return Math.max(LEAST_RESERVE_BYTES, (await volumes.disk())?.reserve ?? 0);
}
