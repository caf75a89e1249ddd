/** Owners of sessions on the real engine: what they end is ended, and what they keep is kept. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { shellBlocks } from "../../support/documents.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const run = promisify(execFile);
/** How many processes of that name the sandbox has. */
const SLEEPERS =
  "import glob; print([open(path).read() for path in glob.glob('/proc/[0-9]*/comm')].count('sleep\\n'))";
const LOOK_EVERY_MS = 100;
const BEGINS = { interval: LOOK_EVERY_MS, timeout: 20_000 };
const Outcome = z.object({ stdout: z.string(), stderr: z.string(), exit_code: z.number() });

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ env: { KERNELYARD_POOL_SIZE: "0" } });
});
afterAll(() => stack?.stop());

const newSession = () => `owned-${randomBytes(6).toString("hex")}`;
const call = async (session: string, code: string) =>
  Outcome.parse(await (await stack.post("/run", { session_id: session, code })).json());
const ask = (method: string, path: string) =>
  fetch(`${stack.baseUrl}/v1/runtime-sessions/${path}`, { method, headers: { "x-api-key": stack.apiKey } });

async function sandboxes(session: string): Promise<string[]> {
  const filters = { volume: [`librechat_vol_${session}`] };
  return (await stack.docker.listContainers({ filters })).map(({ Id }) => Id);
}

async function busy(session: string): Promise<void> {
  for (;;) {
    const view = z.looseObject({ state: z.string() }).safeParse(await (await ask("GET", session)).json());
    if (view.data?.state === "busy") return;
    await delay(LOOK_EVERY_MS);
  }
}

async function volumes(session: string): Promise<number> {
  const filters = { name: [`librechat_vol_${session}`] };
  return (await stack.docker.listVolumes({ filters })).Volumes.length;
}

it("an interrupted call ends, and variables are kept", async () => {
  const session = newSession();
  await call(session, "x = 41");
  const long = call(session, "import time; time.sleep(60)");
  await busy(session);
  expect(await (await ask("POST", `${session}/interrupt`)).json()).toEqual({ interrupted: true });
  expect((await long).stderr).toContain("Interrupted");
  expect((await call(session, "print(x + 1)")).stdout).toBe("42\n");
});

it("a restart keeps files and loses variables, also while a call runs", async () => {
  const session = newSession();
  await call(session, "x = 1; open('kept.txt', 'w').write('kept')");
  const long = call(session, "import time; time.sleep(60)");
  await busy(session);
  expect(await (await ask("POST", `${session}/restart`)).json()).toEqual({ restarted: true });
  expect((await long).stderr).toContain("Sandbox was terminated");
  const after = await call(session, "print(open('kept.txt').read(), 'x' in globals())");
  expect(after.stdout).toBe("kept False\n");
});

it("a restart while nothing runs leaves the sandbox, and nothing that was started in it", async () => {
  const session = newSession();
  await call(session, "import subprocess; x = subprocess.Popen(['sleep', '600'])");
  await call(session, "subprocess.run('setsid sleep 600 & echo kept > /tmp/kept.txt', shell=True)");
  // The shell does not wait for what it leaves behind: setsid becomes sleep when it gets a CPU.
  await expect.poll(async () => (await call(session, SLEEPERS)).stdout, BEGINS).toBe("2\n");
  const before = await sandboxes(session);
  expect(await (await ask("POST", `${session}/restart`)).json()).toEqual({ restarted: true });
  const after = await call(session, "print('x' in globals(), open('/tmp/kept.txt').read())");
  expect([after.stdout, after.stderr]).toEqual([
    "False kept\n\n",
    expect.stringContaining("its owner asked for it"),
  ]);
  expect((await call(session, SLEEPERS)).stdout).toBe("0\n");
  expect(await sandboxes(session)).toEqual(before);
});

it("a forgotten session leaves neither container nor volume, and begins anew", async () => {
  const session = newSession();
  await call(session, "open('secret.txt', 'w').write('x')");
  expect(await volumes(session)).toBe(1);
  expect((await ask("DELETE", session)).status).toBe(204);
  expect(await volumes(session)).toBe(0);
  const { stdout } = await run("find", [stack.dataDir, "-name", `*${session}*`]);
  expect(stdout).toBe("");
  expect((await ask("DELETE", session)).status).toBe(404);
  expect((await call(session, "import os; print(os.listdir())")).stdout).toBe("[]\n");
});

it("the document's commands run as they stand", async () => {
  const session = newSession();
  await call(session, "x = 1");
  const commands = shellBlocks("docs/sessions.md")
    .join("\n")
    .replaceAll("http://127.0.0.1:3112", stack.baseUrl)
    .replaceAll("SESSION", session)
    .replace(/(?<=x-api-key: )KEY/g, stack.apiKey);
  const { stdout } = await run("bash", ["-e", "-c", commands]);
  expect(stdout).toContain(`"id":"${session}"`);
  expect(stdout).toContain('{"interrupted":false}');
  expect(stdout).toContain('{"restarted":true}');
  expect(stdout).toContain('event: stdout\ndata: {"text":"1\\n"}');
  expect(stdout).toContain("event: result\n");
  expect(await volumes(session)).toBe(0);
});
