/**
 * The install script on an engine of its own, which it starts, changes, restarts and repairs. What is the machine's (packages,
 * gVisor, user, profile) is there already: the set-up of this ring is the same script.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  CHECKPOINT_RUNTIME_NAME,
  HOST_FILES,
  RUNTIME_ARGUMENTS,
  RUNTIME_NAME,
} from "../../../gateway/host/isolation.ts";

const HOST = join(import.meta.dirname, "../../../gateway/host");
const LOCK = "/run/lock/kernelyard-host.lock";
const Config = z.looseObject({ runtimes: z.record(z.string(), z.unknown()) });

let folder = "";
/** What a machine without this repository is sent, and nothing else. */
let sent = "";
let engine = "";
const bridge = () => existsSync("/sys/class/net/docker0");
let bridgeBefore = false;

beforeAll(() => {
  bridgeBefore = bridge();
  folder = mkdtempSync(join(tmpdir(), "ky-install-"));
  sent = join(folder, "sent");
  engine = join(folder, "engine");
  for (const file of HOST_FILES) {
    mkdirSync(dirname(join(sent, file)), { recursive: true });
    cpSync(join(HOST, file), join(sent, file));
  }
});

afterAll(async () => {
  await stopEngine();
  rmSync(folder, { recursive: true, force: true });
});

interface Said {
  readonly code: number | null;
  readonly text: string;
}

/** The script waits for its lock, which other tests may hold. `heard` gets all that it has said so far. */
function install(args: readonly string[] = [], heard: (text: string) => void = () => {}): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = spawn("bash", [join(sent, "install.sh"), "--engine-dir", engine, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        heard(text);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, text }));
  });
}

const configPath = () => join(engine, "daemon.json");
const config = () => Config.parse(JSON.parse(readFileSync(configPath(), "utf8")));
const pid = (): number | null => {
  const file = join(engine, "docker.pid");
  return existsSync(file) ? Number(readFileSync(file, "utf8")) : null;
};

async function stopEngine(): Promise<void> {
  const running = pid();
  if (running === null) return;
  process.kill(running, "SIGTERM");
  await expect.poll(() => existsSync(`/proc/${running}`), { timeout: 60_000 }).toBe(false);
}

it("configures without starting, then starts, then has nothing to do", async () => {
  expect(await install(["--no-start"])).toMatchObject({
    code: 0,
    text: expect.stringContaining("engine not started"),
  });
  expect(pid()).toBeNull();
  expect(config().runtimes[RUNTIME_NAME]).toMatchObject({ runtimeArgs: RUNTIME_ARGUMENTS });
  const started = await install();
  expect(started, started.text).toMatchObject({
    code: 0,
    text: expect.stringMatching(/starting it[\s\S]*Host ready: /),
  });
  expect(await install()).toMatchObject({
    code: 0,
    text: expect.stringMatching(/^( {2}another run .*\n)?Host ready, nothing to do: .*\n$/),
  });
});

it("waits for another run, and does not count that as something done", async () => {
  const holder = spawn("flock", [LOCK, "sh", "-c", "echo held; cat"], { stdio: ["pipe", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  const waited = await install([], (text) => {
    if (text.includes("another run")) holder.stdin.end();
  });
  expect(waited).toMatchObject({
    code: 0,
    text: expect.stringMatching(/^ {2}another run .*\nHost ready, nothing to do: .*\n$/),
  });
});

it("keeps the engine running where a reload does, and keeps what was there", async () => {
  const before = pid();
  const { runtimes, ...others } = config();
  expect(Object.keys(runtimes).sort()).toEqual([RUNTIME_NAME, CHECKPOINT_RUNTIME_NAME]);
  writeFileSync(configPath(), JSON.stringify({ ...others, runtimes: {}, debug: false }));
  expect(await install()).toMatchObject({
    code: 0,
    text: expect.stringContaining("daemon.json.before-kernelyard-"),
  });
  expect(config()).toMatchObject({
    debug: false,
    runtimes: {
      [RUNTIME_NAME]: { path: expect.stringMatching(/\/runsc$/), runtimeArgs: RUNTIME_ARGUMENTS },
      [CHECKPOINT_RUNTIME_NAME]: {
        path: expect.stringMatching(/\/runsc-checkpoint$/),
        runtimeArgs: RUNTIME_ARGUMENTS,
      },
    },
  });
  expect(pid()).toBe(before);
});

it("restarts the engine for what a reload does not take over", async () => {
  const before = pid();
  expect(await install(["--dedicated"])).toMatchObject({
    code: 0,
    text: expect.stringContaining("restarting it"),
  });
  expect(config()).toMatchObject({ "no-new-privileges": true });
  expect(pid()).not.toBe(before);
  expect(await install(["--dedicated"])).toMatchObject({
    code: 0,
    text: expect.stringContaining("nothing to do"),
  });
});

it("puts back what the engine refuses, and says why", async () => {
  await stopEngine();
  const refused = '{"no-such-key": 1}\n';
  writeFileSync(configPath(), refused);
  expect(await install()).toMatchObject({
    code: 1,
    text: expect.stringMatching(/no-such-key[\s\S]*put back as it was/),
  });
  expect(readFileSync(configPath(), "utf8")).toBe(refused);
});

it("leaves the machine's own engine its network", () => {
  expect(bridge()).toBe(bridgeBefore);
});

it("tells wrong use and an engine that is not there", async () => {
  expect((await install(["--nonsense"])).code).toBe(2);
  expect(await install(["--engine-dir", "", "--docker-socket", "/nonexistent.sock"])).toMatchObject({
    code: 2,
  });
});
