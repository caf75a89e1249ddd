/** Calls without a session, one after another: no container stays, memory and descriptors stay flat. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../stack.ts";

const CALLS = 100;
/** What is allocated once (pools, caches, compiled code) is there after this many. */
const SETTLED_AFTER = 40;
const MIB = 1024 * 1024;

let stack: Stack;

beforeAll(async () => {
  // No pool: after a call there is nothing that could hide a leak.
  stack = await startStack({ env: { KERNELYARD_POOL_SIZE: "0", KERNELYARD_RATE_LIMITS: "off" } });
});

afterAll(() => stack?.stop());

function usage(pid: number): { descriptors: number; rssMib: number } {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, rssMib: Math.round((pages * 4096) / MIB) };
}

it(`${CALLS} fresh calls leave nothing`, async () => {
  let settled: Record<string, ReturnType<typeof usage>> = {};
  const now = () => ({ gateway: usage(stack.gatewayPid), launcher: usage(stack.launcherPid) });
  for (let i = 1; i <= CALLS; i += 1) {
    const response = await stack.post("/v1/exec", { lang: "py", code: `print(${i} + 1)` });
    expect(await response.json()).toMatchObject({ stdout: `${i + 1}\n`, code: 0 });
    if (i === SETTLED_AFTER) settled = now();
  }
  await expect.poll(async () => (await stack.containers()).length, { timeout: 20_000 }).toBe(0);
  const after = now();
  process.stdout.write(
    `after ${SETTLED_AFTER}: ${JSON.stringify(settled)}\nafter ${CALLS}: ${JSON.stringify(after)}\n`,
  );
  for (const name of ["gateway", "launcher"] as const) {
    const before = settled[name];
    if (before === undefined) throw new Error("no measurement");
    expect(after[name].descriptors - before.descriptors, `${name}'s descriptors`).toBeLessThanOrEqual(4);
    expect(after[name].rssMib - before.rssMib, `${name}'s memory in MiB`).toBeLessThanOrEqual(32);
  }
}, 900_000);
