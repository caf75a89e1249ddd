/** What a host counts of its fleet, and in which words. */

/** `answered`: by the other host, whatever it said; `not_taken`: it was not reached, or did not take it; `lost`: nobody knows. */
export const FORWARDS = ["answered", "not_taken", "lost"] as const;

/** Why a call waited: see the failures in docs/fleet.md. */
export const WAITS = ["moving", "engine_emptied", "engine_away", "no_host", "no_lease", "not_taken"] as const;

/** `host_lost`, `moved`: it came here from a host that was lost, or that put it away; `new`: it began here; `left`: another host has it; `parked`: it was put away here. */
export const TRAVELS = ["new", "host_lost", "moved", "left", "parked"] as const;

/** What became of a session's files: `saved` for other hosts, `restored` from one. `too_large`: they stay where they are. */
export const SAVES = ["saved", "restored", "too_large", "failed"] as const;

type Counts<Name extends string> = Record<Name, number>;

export interface FleetFigures {
  /** Takes part now. */
  readonly member: boolean;
  readonly hosts: number;
  readonly forwards: Readonly<Counts<(typeof FORWARDS)[number]>>;
  readonly waits: Readonly<Counts<(typeof WAITS)[number]>>;
  readonly sessions: Readonly<Counts<(typeof TRAVELS)[number]>>;
  readonly workspaces: Readonly<Counts<(typeof SAVES)[number]>>;
}

/** All of them at 0, so that the first one is seen to be one more. */
export function noCounts<const Names extends readonly string[]>(names: Names): Counts<Names[number]> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Counts<Names[number]>;
}
