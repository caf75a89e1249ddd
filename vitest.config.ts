import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/runner/longest-first.ts";
import { RING_NAMES, RINGS, type RingName } from "./test/runner/rings.ts";
import { LONG_FORM } from "./test/support/drill.ts";

/** Two even on one core: a file of the engine's rings waits more than it computes. */
const SIDE_BY_SIDE = Math.min(4, Math.max(2, availableParallelism()));

/**
 * Several hosts under load: even a few calls take minutes, and faults that must last take longer. What they rest on has its tests in the
 * ring `fleet` and in `integration/monitoring`.
 */
const LONG_FORM_ALONE = [
  "test/integration/drill/fleet*.test.ts",
  "test/integration/drill/monitoring.test.ts",
];

/** What a ring's files share, made before any of them begins. */
const SET_UP: Partial<Record<RingName, string>> = {
  contract: "test/contract/support/install-clients.ts",
  infra: "test/infra/images.ts",
};

/** One project per ring. The number of workers is the same for all but the last, so that files of different rings run side by side. */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: RING_NAMES.map((name) => ({
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        exclude: ["**/node_modules/**", ...(LONG_FORM ? [] : LONG_FORM_ALONE)],
        isolate: RINGS[name].isolate,
        // Its machines share the kernel's devices and the engine's images: two of its files at once disturb each other.
        ...(name === "infra" ? { maxWorkers: 1, sequence: { groupOrder: 1 } } : { maxWorkers: SIDE_BY_SIDE }),
        testTimeout: RINGS[name].timeoutMs,
        hookTimeout: RINGS[name].timeoutMs,
        // A condition that comes late is late, not wrong; one that never comes is told before the test's own time is over.
        expect: { poll: { timeout: RINGS[name].timeoutMs / 2, interval: 20 } },
        unstubEnvs: true,
        restoreMocks: true,
        ...(SET_UP[name] === undefined ? {} : { globalSetup: [SET_UP[name]] }),
      },
    })),
  },
});
