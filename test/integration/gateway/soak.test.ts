/** Calls without a session, two at a time: no container stays, and what is held in memory and descriptors stays flat. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HeldMemory } from "../../support/held-memory.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const CALLS = 60;
/** What is allocated once (pools, caches, compiled code) is there after this many. */
const SETTLED_AFTER = 20;
/** The least that a call would leave: its code, its output, a sandbox' record. Compiled code still grows a little. */
const LEAST_LEAK = 64 * 1024;
const MIB = 1024 * 1024;

let stack: Stack;

beforeAll(async () => {
  // No pool: after a call there is nothing that could hide a leak.
  const env = { KERNELYARD_POOL_SIZE: "0", KERNELYARD_RATE_LIMITS: "off" };
  stack = await startStack({ checkpoints: "ready", env, inspect: true });
});

afterAll(() => stack?.stop());

interface Usage {
  readonly descriptors: number;
  readonly held: number;
}

it(`${CALLS} fresh calls leave nothing`, async () => {
  const services = { gateway: stack.gateway, launcher: stack.launcher };
  using gateway = await HeldMemory.of(services.gateway.inspector);
  using launcher = await HeldMemory.of(services.launcher.inspector);
  const memory = { gateway, launcher };
  const usage = async (name: keyof typeof services): Promise<Usage> => ({
    descriptors: readdirSync(`/proc/${services[name].pid}/fd`).length,
    held: await memory[name].bytes(),
  });
  const now = async () => {
    await expect.poll(async () => (await stack.containers()).length).toBe(0);
    return { gateway: await usage("gateway"), launcher: await usage("launcher") };
  };
  const calls = async (from: number, to: number) => {
    const call = async (i: number) => {
      const code = `print(${i} + 1)  # ${"x".repeat(LEAST_LEAK)}`;
      const response = await stack.post("/v1/exec", { lang: "py", code });
      expect(await response.json()).toMatchObject({ stdout: `${i + 1}\n`, code: 0 });
    };
    for (let i = from; i < to; i += 2) await Promise.all([call(i), call(i + 1)]);
  };
  await calls(1, SETTLED_AFTER);
  const settled = await now();
  await calls(SETTLED_AFTER + 1, CALLS);
  const after = await now();
  for (const name of ["gateway", "launcher"] as const) {
    const grown = after[name].held - settled[name].held;
    process.stdout.write(
      `${name}: ${(settled[name].held / MIB).toFixed(1)} MiB held, ${(grown / MIB).toFixed(2)} more after ${CALLS - SETTLED_AFTER} calls\n`,
    );
    expect(after[name].descriptors - settled[name].descriptors, `${name}'s descriptors`).toBeLessThanOrEqual(
      4,
    );
    expect(grown, `${name}'s memory`).toBeLessThan((CALLS - SETTLED_AFTER) * LEAST_LEAK);
  }
}, 900_000);
