/** A host serves many more conversations than it has places, in any order, and none of them misses a variable. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HealthDetail } from "../../../gateway/server/http/routes/health.ts";
import { RunResponse } from "../../../gateway/server/http/routes/run.ts";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const PLACES = LONG_FORM ? 20 : 3;
const CONVERSATIONS = LONG_FORM ? 200 : 6;
const CALLS = LONG_FORM ? 400 : 8;
/** Calls at the same time, of different conversations. */
const AT_ONCE = LONG_FORM ? 4 : 1;
/** What a sandbox of the default size takes of the budget. */
const PLACE_MIB = 582;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    checkpoints: "ready",
    env: {
      KERNELYARD_MEMORY_BUDGET: `${PLACES * PLACE_MIB}m`,
      KERNELYARD_POOL_SIZE: "0",
      KERNELYARD_RATE_LIMITS: "off",
      KERNELYARD_SLEEP_DISK: "100g",
    },
  });
}, 120_000);
afterAll(() => stack?.stop(), 120_000);

const run = async (session_id: string, code: string) => {
  const response = await stack.post("/run", { session_id, code });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return RunResponse.parse(body);
};

async function health() {
  const response = await fetch(`${stack.baseUrl}/health?detail`, { headers: { "x-api-key": stack.apiKey } });
  return HealthDetail.parse(await response.json());
}

const random = seeded(17);
const conversations = Array.from({ length: CONVERSATIONS }, (_, n) => ({
  n,
  // Docker volumes are shared by all that use the engine.
  name: `density-${randomBytes(4).toString("hex")}`,
  calls: 0,
}));
type Conversation = (typeof conversations)[number];

/** `AT_ONCE` at a time, never two calls of one conversation. */
async function inTurn(turns: readonly Conversation[], call: (of: Conversation) => Promise<void>) {
  for (let i = 0; i < turns.length; i += AT_ONCE) {
    await Promise.all([...new Set(turns.slice(i, i + AT_ONCE))].map(call));
  }
}

async function goOn(of: Conversation): Promise<void> {
  const { n, name } = of;
  of.calls += 1;
  const code = of.calls === 1 ? `n, calls = ${n}, [1]` : "calls.append(len(calls) + 1)\nprint(n, sum(calls))";
  const told = of.calls === 1 ? "" : `${n} ${(of.calls * (of.calls + 1)) / 2}\n`;
  expect(await run(name, code)).toEqual({ stdout: told, stderr: "", exit_code: 0 });
}

it(`${CONVERSATIONS} conversations in ${PLACES} places, ${CALLS} calls at random and a restart of the services between`, {
  timeout: 120_000 + (CONVERSATIONS + CALLS) * 20_000,
}, async () => {
  expect((await health()).capacity).toBe(PLACES);
  await inTurn(conversations, goOn);
  const turns = Array.from({ length: CALLS }, () => conversations[Math.floor(random() * CONVERSATIONS)]);
  const called = turns.filter((one) => one !== undefined);
  await inTurn(called.slice(0, CALLS / 2), goOn);
  await stack.gateway.signal("SIGTERM");
  await stack.launcher.signal("SIGUSR2");
  await stack.startLauncher();
  await stack.startGateway();
  await stack.checkpointsReady();
  await inTurn(called.slice(CALLS / 2), goOn);
  await inTurn(conversations, goOn);
  const { checkpoints } = await health();
  expect(checkpoints).toMatchObject({ state: "on", failed: 0 });
  expect(checkpoints?.sleeping).toBeGreaterThanOrEqual(CONVERSATIONS - PLACES);
  const calls = conversations.reduce((sum, { calls }) => sum + calls, 0);
  process.stdout.write(
    `${CONVERSATIONS} conversations in ${PLACES} places: ${calls} calls, ${checkpoints?.sleeping} asleep in ${Math.round((checkpoints?.sleeping_bytes ?? 0) / 1e6)} MB\n`,
  );
});
