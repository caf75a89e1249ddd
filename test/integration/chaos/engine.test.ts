/** The engine is killed with -9 during a call: the service says so, comes back by itself, and loses no file. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Stack, startStack } from "../../support/stack.ts";
import { SecondEngine } from "./second-engine.ts";

const IMAGE = "custom-rce-kernel:latest";
const WITHIN = { timeout: 60_000, interval: 200 };

let engine: SecondEngine;
let stack: Stack;
let stopped = false;

beforeAll(async () => {
  engine = new SecondEngine();
  await engine.start();
  engine.load(IMAGE);
  stack = await startStack({
    checkpoints: "default",
    env: { KERNELYARD_DOCKER_SOCKET: engine.socket, KERNELYARD_POOL_SIZE: "1" },
  });
}, 300_000);

afterAll(async () => {
  try {
    if (!stopped) {
      process.stderr.write(`${engine.complaints()}\n${stack?.launcher.lines.join("\n")}\n`);
      await stack?.stop();
    }
  } finally {
    await engine.remove();
  }
}, 60_000);

async function run(code: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${stack.baseUrl}/run`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": stack.apiKey },
    body: JSON.stringify({ session_id: "chaos", code }),
    signal: AbortSignal.timeout(50_000),
  });
  const body: unknown = await response.json();
  if (typeof body !== "object" || body === null) throw new Error("no object");
  return { status: response.status, body: { ...body } };
}

/** After its start an engine may list a container that it does not know any more, until its next one. */
const ours = () =>
  engine
    .docker("ps", "-a", "--filter", "label=kernelyard.instance", "--format", "{{.ID}} {{.State}}")
    .split("\n")
    .filter((line) => line !== "" && engine.knows(line.split(" ")[0] ?? ""));
const loops = () =>
  execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(stack.dataDir));
const mounts = () =>
  readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((line) => line.includes(`${engine.directory}/data/volumes/`));

it("survives kill -9 of the engine during a call", async () => {
  await run("x = 41");
  await run(
    "import os\nwith open('kept.txt', 'w') as f:\n    f.write('kept')\n    f.flush()\n    os.fsync(f.fileno())",
  );
  expect(loops()).toHaveLength(1);

  const during = run("import time\nprint('started', flush=True)\ntime.sleep(40)");
  await expect.poll(async () => (await fetch(`${stack.baseUrl}/health`)).status, WITHIN).toBe(200);
  await engine.kill("SIGKILL");
  const answer = await during;
  expect([200, 503]).toContain(answer.status);
  if (answer.status === 200) expect(answer.body.exit_code).not.toBe(0);

  const away = await run("print(1)");
  expect(away.status).toBe(503);
  expect(away.body.error).toBe("engine_unavailable");
  expect(String(away.body.message)).toMatch(/engine/i);

  await engine.start();
  await expect
    .poll(async () => (await run("print(open('kept.txt').read())")).body.stdout, WITHIN)
    .toBe("kept\n");
  const again = await run("print(1)");
  expect(again).toMatchObject({ status: 200, body: { stdout: "1\n", exit_code: 0 } });

  // What is there has an owner: the session's sandbox and one of the pool, one loop device, one mount.
  await expect.poll(() => ours().filter((line) => !line.endsWith("running")), WITHIN).toEqual([]);
  await expect.poll(() => ours().length, WITHIN).toBe(2);
  expect(loops()).toHaveLength(1);
  expect(mounts()).toHaveLength(1);

  await stack.stop();
  stopped = true;
  expect(ours()).toEqual([]);
  expect(loops()).toEqual([]);
  expect(mounts()).toEqual([]);
}, 300_000);
