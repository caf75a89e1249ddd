/** How long a stop may take: whoever stops the gateway and the gateway itself go by the same numbers. */

/** After the longest call: its files are collected and kept, its reply read. */
const BEYOND_CALL_MS = 60_000;
/** Beyond the longest call: for the files of all sessions of a host to be saved. */
const PUTTING_AWAY_MS = 120_000;
/** Closing what is open. */
const CLOSING_MS = 5_000;

/** The gateway waits this long for requests that it has begun; most stops take as long as the longest present call. */
export function drainMs(longestCallMs: number): number {
  return longestCallMs + BEYOND_CALL_MS;
}

/** A host's sessions go to others of its fleet: their calls end, and their files are saved. */
export function putAwayMs(longestCallMs: number): number {
  return drainMs(longestCallMs) + PUTTING_AWAY_MS;
}

/** Between SIGTERM and SIGKILL. */
export function stopWithinMs(longestCallMs: number): number {
  return drainMs(longestCallMs) + CLOSING_MS;
}
