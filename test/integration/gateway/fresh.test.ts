/** Calls without a session: each in a sandbox of its own, and nothing of it stays. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { LauncherClient } from "../../../gateway/sessions/launcher-client.ts";
import { type Stack, startStack } from "../stack.ts";

const CALLS = 40;
const WARM_UP = 5;
const MIB = 1024 * 1024;
const WITHIN = { timeout: 60_000, interval: 100 };

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ env: { KERNELYARD_RATE_LIMITS: "off" } });
});

afterAll(async () => {
  await stack.stop();
});

const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;
const resident = (pid: number) =>
  Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

async function exec(code: string, more: Record<string, unknown> = {}) {
  const response = await stack.post("/exec", { lang: "py", code, ...more });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body;
}

/** Waits until only unused pool sandboxes are there: what a call leaves is on its way out until then. */
async function settled(): Promise<void> {
  await expect.poll(async () => (await stack.containers("fresh")).length, WITHIN).toBeLessThanOrEqual(2);
}

describe("fresh calls", () => {
  it("see nothing of each other", async () => {
    await exec("secret = 1; open('left', 'w').write('x'); open('/tmp/left', 'w').write('x')");
    expect(
      await exec("import os; print('secret' in globals(), os.listdir('.'), os.path.exists('/tmp/left'))"),
    ).toMatchObject({
      stdout: "False [] False\n",
    });
  });

  it("run bash as well, with arguments", async () => {
    expect(await exec('echo "$1 $2"; exit 3', { lang: "bash", args: ["a b", "c"] })).toMatchObject({
      stdout: "a b c\n",
      code: 3,
      status: null,
    });
  });

  it("are removed when the caller hangs up", async () => {
    const launcher = new LauncherClient(`${stack.dataDir}/run/launcher.sock`);
    onTestFinished(() => launcher.close());
    const used = async () =>
      (await launcher.list()).filter(({ kind, used, ended }) => kind === "fresh" && used && ended === null);
    await expect.poll(async () => (await used()).length, WITHIN).toBe(0);
    const hangUp = new AbortController();
    const call = stack.post("/exec", { lang: "py", code: "while True: pass" }, {}, hangUp.signal);
    const failed = expect(call).rejects.toThrow();
    await expect.poll(async () => (await used()).length, WITHIN).toBe(1);
    hangUp.abort();
    await failed;
    await expect.poll(async () => (await used()).length, WITHIN).toBe(0);
  });

  it(`leave no container, no descriptor and no memory behind after ${CALLS} of them`, async () => {
    for (let i = 0; i < WARM_UP; i++) await exec(`print(${i})`);
    await settled();
    const pids = [stack.gatewayPid, stack.launcherPid];
    const before = pids.map((pid) => ({ fds: descriptors(pid), rss: resident(pid) }));
    for (let i = 0; i < CALLS; i++) expect(await exec(`print(${i})`)).toMatchObject({ stdout: `${i}\n` });
    await settled();
    for (const [i, pid] of pids.entries()) {
      expect(descriptors(pid)).toBeLessThanOrEqual((before[i]?.fds ?? 0) + 10);
      expect(resident(pid)).toBeLessThan((before[i]?.rss ?? 0) + 48 * MIB);
    }
  }, 300_000);
});
