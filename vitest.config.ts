import { defineConfig } from "vitest/config";

/** One project per ring. Rings that use the real engine run their files one after another: they share this machine. */
const ring = (name: string, options: { parallel: boolean; timeoutMs: number; setup?: string }) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    exclude: ["**/node_modules/**"],
    fileParallelism: options.parallel,
    testTimeout: options.timeoutMs,
    hookTimeout: options.timeoutMs,
    unstubEnvs: true,
    restoreMocks: true,
    ...(options.setup === undefined ? {} : { globalSetup: [options.setup] }),
  },
});

export default defineConfig({
  test: {
    projects: [
      ring("unit", { parallel: true, timeoutMs: 10_000 }),
      ring("protocol", { parallel: false, timeoutMs: 60_000 }),
      ring("integration", { parallel: false, timeoutMs: 120_000 }),
      ring("contract", {
        parallel: false,
        timeoutMs: 120_000,
        setup: "test/contract/support/install-clients.ts",
      }),
      ring("attack", { parallel: false, timeoutMs: 120_000 }),
      ring("infra", { parallel: false, timeoutMs: 600_000 }),
    ],
  },
});
