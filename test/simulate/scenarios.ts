/** The days of the documentation. */
import type { Costs } from "./costs.ts";
import type { Machine, Options } from "./simulate.ts";

/** What `instanceType` is by default, and eight of them in one. */
const SMALL: Machine = { cpus: 2, memoryGib: 8 };
const LARGE: Machine = { cpus: 16, memoryGib: 64 };
/** As many as `hostCountMax` takes. */
const MOST_HOSTS = 128;
export const SEED = 1;

export interface Scenario {
  readonly users: number;
  readonly machine: Machine;
  readonly leastHosts: number;
  readonly mostHosts: number;
  readonly environment?: Readonly<Record<string, string>>;
}

export const SCENARIOS: readonly Scenario[] = [
  { users: 100, machine: SMALL, leastHosts: 1, mostHosts: 1 },
  { users: 1_000, machine: SMALL, leastHosts: 2, mostHosts: MOST_HOSTS },
  { users: 10_000, machine: LARGE, leastHosts: 2, mostHosts: MOST_HOSTS },
  {
    users: 10_000,
    machine: LARGE,
    leastHosts: 2,
    mostHosts: MOST_HOSTS,
    environment: { KERNELYARD_SLEEP_DISK: "300g" },
  },
  { users: 100_000, machine: LARGE, leastHosts: 2, mostHosts: MOST_HOSTS },
];
/** Of them, the one that is drawn. */
export const DRAWN = 2;

export const optionsOf = (scenario: Scenario, costs: Costs, seed = SEED): Options => ({
  ...scenario,
  costs,
  seed,
});
