/** Sessions sleep by themselves and wake with a call: both services, a real engine, real gVisor. */
import { randomBytes } from "node:crypto";

import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HealthDetail } from "../../../gateway/server/http/routes/health.ts";
import { RuntimeSessions } from "../../../gateway/server/http/routes/runtime-sessions/look.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const WITHIN = { timeout: 30_000, interval: 100 };
const Result = z.object({ stdout: z.string(), stderr: z.string(), exit_code: z.number().nullable() });

// Docker volumes are shared by all that use the engine.
const name = () => `sleep-${randomBytes(4).toString("hex")}`;
const [one, two, three] = [name(), name(), name()];
let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    checkpoints: "ready",
    env: {
      KERNELYARD_SLEEP_AFTER_MS: "1500",
      KERNELYARD_POOL_SIZE: "1",
    },
  });
}, 120_000);
afterAll(() => stack?.stop(), 60_000);

async function health(): Promise<z.infer<typeof HealthDetail>> {
  const response = await fetch(`${stack.baseUrl}/health?detail`, { headers: { "x-api-key": stack.apiKey } });
  return HealthDetail.parse(await response.json());
}

async function run(session: string, code: string): Promise<z.infer<typeof Result>> {
  const response = await stack.post("/run", { session_id: session, code });
  expect(response.status).toBe(200);
  return Result.parse(await response.json());
}

/** Until the session's container is gone, and nothing but its checkpoint is left. */
async function asleep(sessions: number): Promise<void> {
  await expect.poll(async () => (await health()).checkpoints?.sleeping, WITHIN).toBe(sessions);
  await expect.poll(() => stack.containers("session"), WITHIN).toEqual([]);
}

test("a session sleeps when it is idle, and the next call finds its variables", async () => {
  await run(
    one,
    "x = 41\nimport numpy\ngenerator = numpy.random.default_rng(7)\nopen('kept', 'w').write('kept')",
  );
  await asleep(1);
  const woken = await run(
    one,
    "print(x + 1, generator.random() == numpy.random.default_rng(7).random(), open('kept').read())",
  );
  expect(woken).toEqual({ stdout: "42 True kept\n", stderr: "", exit_code: 0 });
  expect((await health()).checkpoints).toMatchObject({ sleeping: 0, failed: 0 });
  await asleep(1);
});

test("what sleeps survives kill -9 of both services, and is told from what was lost with them", async () => {
  await run(two, "y = 1");
  await asleep(2);
  await run(three, "z = 1");
  const [awake] = await stack.containers("session");
  await stack.gateway.signal("SIGKILL");
  await stack.launcher.signal("SIGKILL");
  await stack.docker.getContainer(awake?.Id ?? "").remove({ force: true });
  await stack.startLauncher();
  await stack.startGateway();
  // Known to their owner before they are used again.
  const listed = await fetch(`${stack.baseUrl}/v1/runtime-sessions`, {
    headers: { "x-api-key": stack.apiKey },
  });
  const { sessions } = RuntimeSessions.parse(await listed.json());
  expect(sessions.map(({ id, state }) => [id, state]).sort()).toEqual(
    [one, two].map((id) => [id, "asleep"]).sort(),
  );
  expect((await run(two, "print(y + 1)")).stdout).toBe("2\n");
  const lost = await run(three, "print('z' in globals())");
  expect(lost).toMatchObject({ stdout: "False\n", stderr: expect.stringContaining("files are kept") });
  expect((await run(three, "print(1)")).stderr).toBe("");
  expect((await run(one, "print(x)")).stdout).toBe("41\n");
});
