/** kill -9 of the gateway and of the launcher during calls: the kernels live on, nothing is left without an owner. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import { RunResponse } from "../../../gateway/server/http/routes/run.ts";
import { type Stack, startStack } from "../../support/stack.ts";

let stack: Stack;
let launcher: LauncherClient;

beforeAll(async () => {
  stack = await startStack({
    checkpoints: "default",
    env: { KERNELYARD_TIMEOUT_MS: "60000", KERNELYARD_POOL_SIZE: "1" },
  });
  launcher = new LauncherClient(`${stack.dataDir}/run/launcher.sock`);
});

afterAll(async () => {
  launcher.close();
  await stack.stop();
});

const WITHIN = { timeout: 60_000, interval: 50 };
const session = (name: string) => `${name}-${randomBytes(4).toString("hex")}`;

async function run(id: string, code: string) {
  const response = await stack.post("/run", { session_id: id, code });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return RunResponse.parse(body);
}

const sandboxOf = async (id: string) =>
  (await launcher.list()).find(
    ({ session: key, ended }) => key?.kind === "named" && key.name === id && ended === null,
  );

/** The first call of a session; resolves when its code has been handed over, and keeps the reply for later. */
async function begin(id: string, code: string): Promise<{ readonly reply: Promise<Response | null> }> {
  const reply = stack.post("/run", { session_id: id, code }).catch(() => null);
  await expect.poll(async () => (await sandboxOf(id))?.used ?? false, WITHIN).toBe(true);
  return { reply };
}

const LONG = "x = 41\nimport time\ntime.sleep(300)";

describe("kill -9 of the gateway during a call", () => {
  it("keeps the kernel and its variables, and ends the call that nobody waits for", async () => {
    const id = session("gateway");
    const { reply } = await begin(id, LONG);
    const before = await sandboxOf(id);
    await stack.gateway.signal("SIGKILL");
    expect(await reply).toBeNull();
    await stack.startGateway();
    expect(await run(id, "print(x)")).toMatchObject({ stdout: "41\n", exit_code: 0 });
    expect((await sandboxOf(id))?.id).toBe(before?.id);
  });

  it("removes used sandboxes without a session, and keeps no more than the pool", async () => {
    const used = async () =>
      (await launcher.list()).filter(({ kind, used, ended }) => kind === "fresh" && used && ended === null);
    const call = stack.post("/exec", { lang: "py", code: LONG }).catch(() => null);
    await expect.poll(async () => (await used()).length, WITHIN).toBe(1);
    await stack.gateway.signal("SIGKILL");
    expect(await call).toBeNull();
    await stack.startGateway();
    await expect.poll(async () => (await used()).length, WITHIN).toBe(0);
    await expect.poll(async () => (await stack.containers("fresh")).length, WITHIN).toBe(1);
  });
});

describe("kill -9 of the launcher during a call", () => {
  it("costs that call its reply and nobody the kernel", async () => {
    const id = session("launcher");
    const { reply } = await begin(id, LONG);
    await stack.launcher.signal("SIGKILL");
    await stack.startLauncher();
    const cut = await reply;
    expect(cut?.status).toBe(503);
    expect(await cut?.json()).toMatchObject({ error: "launcher_unavailable" });
    expect(await run(id, "print(x)")).toMatchObject({ stdout: "41\n", exit_code: 0 });
    await expect.poll(async () => (await stack.containers("fresh")).length, WITHIN).toBeLessThanOrEqual(1);
  });

  it("answers 503 while the launcher is away, and by itself again", async () => {
    const id = session("away");
    await run(id, "z = 2");
    await stack.launcher.signal("SIGKILL");
    const away = await stack.post("/run", { session_id: session("new"), code: "1" });
    expect(away.status).toBe(503);
    expect(await away.json()).toMatchObject({ error: "launcher_unavailable" });
    await stack.startLauncher();
    expect(await run(id, "print(z)")).toMatchObject({ stdout: "2\n" });
  });
});

describe("SIGTERM to the gateway", () => {
  it("lets a running call finish and leaves the kernels", async () => {
    const id = session("drain");
    const { reply } = await begin(id, "y = 3; import time; time.sleep(3); print('finished')");
    const stopped = stack.gateway.signal("SIGTERM");
    expect(await (await reply)?.json()).toMatchObject({ stdout: "finished\n" });
    await stopped;
    await stack.startGateway();
    expect(await run(id, "print(y)")).toMatchObject({ stdout: "3\n" });
  });
});
