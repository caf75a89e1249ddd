/** Calls without a session: each in a sandbox of its own, and nothing of it stays. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { LauncherClient } from "../../../gateway/common/protocol/launcher-client.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const WITHIN = { timeout: 60_000, interval: 100 };

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ checkpoints: "default", env: { KERNELYARD_RATE_LIMITS: "off" } });
});

afterAll(async () => {
  await stack.stop();
});

async function exec(code: string, more: Record<string, unknown> = {}) {
  const response = await stack.post("/exec", { lang: "py", code, ...more });
  const body: unknown = await response.json();
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body;
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
});
