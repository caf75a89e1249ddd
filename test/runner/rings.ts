/** The rings of tests, from quick to slow. */

/** What a ring needs on the machine beside this project's packages. */
export type Need =
  | "python"
  | "host"
  | "image"
  | "analyst"
  | "clients"
  | "s3"
  | "prometheus"
  | "chromium"
  | "pulumi"
  | "redis"
  | "haproxy";

export interface Ring {
  readonly needs: readonly Need[];
  /** Patience with one test or hook, not a bound on what it tests: the machine may be busy. */
  readonly timeoutMs: number;
  /** Every file in a process of its own. Costs about half a second a file. */
  readonly isolate: boolean;
}

export const RINGS = {
  unit: { needs: [], timeoutMs: 30_000, isolate: false },
  fleet: { needs: ["redis", "haproxy"], timeoutMs: 60_000, isolate: false },
  protocol: { needs: ["python"], timeoutMs: 60_000, isolate: true },
  attack: { needs: ["host", "image"], timeoutMs: 120_000, isolate: true },
  integration: {
    needs: ["host", "image", "analyst", "s3", "prometheus", "redis", "chromium"],
    timeoutMs: 120_000,
    isolate: true,
  },
  contract: { needs: ["host", "image", "clients"], timeoutMs: 120_000, isolate: true },
  infra: { needs: ["host", "image", "clients", "pulumi"], timeoutMs: 600_000, isolate: true },
} as const satisfies Record<string, Ring>;

export type RingName = keyof typeof RINGS;

export const RING_NAMES = Object.keys(RINGS).filter(isRingName);

export function isRingName(name: string): name is RingName {
  return Object.hasOwn(RINGS, name);
}
