/**
 * What a host can meet, one after the other, with sessions that write, wait and compute: a full disk, a dirty image, no loop device, a slow
 * engine, no free place, no free CPU, a clock that jumps. Prints a table of what happened. Nothing that was acknowledged is lost.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import Docker from "dockerode";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { gatewayMemory } from "../../../gateway/common/gateway-memory.ts";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { HealthDetail } from "../../../gateway/server/http/routes/health.ts";
import { RunResponse } from "../../../gateway/server/http/routes/run.ts";
import { removeInstance } from "../../support/abandoned.ts";
import { LONG_FORM } from "../../support/drill.ts";
import { uploadForm } from "../../support/files/app.ts";
import { Stack } from "../../support/stack.ts";
import { SlowEngine } from "./slow-engine.ts";

const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;
/** The smallest that a session's volume can be. */
const VOLUME = 16 * MIB;
const RESERVE = 4 * MIB;
const PLACES = 6;
/** What a sandbox of the default size takes of the budget. */
const PLACE_MIB = 582;
const SLOW_FOR_MS = LONG_FORM ? 60_000 : 7_000;
/** Longer than the launcher waits for what it asks every few seconds. */
const LATE_MS = 6_000;
const COMPUTE_S = LONG_FORM ? 60 : 4;
/** The launcher looks at ages every five seconds. */
const SWEEPS_MS = LONG_FORM ? 20_000 : 6_000;
const WITHIN = { timeout: 90_000, interval: 250 };

const docker = new Docker();
let folder = "";
let volumes = "";
let engine: SlowEngine;
let stack: Stack;
/** While it is there, `losetup` says what it says on a host without a free device. */
let noLoop = "";
let clock = "";
const path = process.env.PATH;
const table: string[] = [];
const row = (fault: string, seen: string) => table.push(`  ${fault.padEnd(44)} ${seen}`);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-faults-"));
  chmodSync(folder, 0o755);
  noLoop = join(folder, "no-loop");
  clock = join(folder, "clock");
  writeFileSync(clock, "0");
  const losetup = execFileSync("sh", ["-c", "command -v losetup"], { encoding: "utf8" }).trim();
  writeFileSync(
    join(folder, "losetup"),
    `#!/bin/sh\nif [ -e ${noLoop} ]; then echo 'losetup: cannot find an unused loop device: No such device' >&2; exit 1; fi\nexec ${losetup} "$@"\n`,
    { mode: 0o755 },
  );
  engine = new SlowEngine(join(folder, "engine.sock"));
  await engine.open();
  process.env.PATH = `${folder}:${path}`;
  process.env.NODE_OPTIONS = `--import=${join(import.meta.dirname, "shifted-clock.ts")}`;
  process.env.DRILL_CLOCK = clock;
  try {
    stack = new Stack({
      env: {
        KERNELYARD_DOCKER_SOCKET: engine.path,
        KERNELYARD_MEMORY_BUDGET: `${PLACES * PLACE_MIB}m`,
        KERNELYARD_POOL_SIZE: "0",
        KERNELYARD_RATE_LIMITS: "off",
        KERNELYARD_SESSION_DISK: String(VOLUME),
        KERNELYARD_DISK_RESERVE: String(RESERVE),
        KERNELYARD_TIMEOUT_MAX_MS: "300000",
      },
    });
  } finally {
    process.env.PATH = path;
    delete process.env.NODE_OPTIONS;
  }
  // A disk of the test's own: others write on the machine's.
  volumes = join(stack.dataDir, "volumes");
  execFileSync("install", ["-d", "-m", "0700", volumes]);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", volumes]);
  await stack.startLauncher();
  await stack.startGateway();
}, 60_000);

afterAll(async () => {
  process.stdout.write(`${["", ...table, ""].join("\n")}`);
  if (stack !== undefined) {
    await stack.gateway.signal("SIGTERM");
    await stack.launcher.signal("SIGTERM");
    await removeInstance(docker, stack.instance);
    if (volumes !== "") execFileSync("umount", [volumes]);
    await stack.stop();
  }
  await engine?.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

const name = (what: string) => `faults-${what}-${randomBytes(4).toString("hex")}`;

async function ask(session_id: string, code: string, timeout_ms = 60_000) {
  const started = performance.now();
  const response = await stack.post("/run", { session_id, code, timeout_ms });
  const body: unknown = await response.json();
  return { status: response.status, body, seconds: (performance.now() - started) / 1000 };
}

async function run(session_id: string, code: string, timeout_ms?: number) {
  const { status, body } = await ask(session_id, code, timeout_ms);
  expect(status, JSON.stringify(body)).toBe(200);
  return RunResponse.parse(body);
}

async function health() {
  const response = await fetch(`${stack.baseUrl}/health?detail`, { headers: { "x-api-key": stack.apiKey } });
  return HealthDetail.parse(await response.json());
}

const imageOf = (session: string) => join(volumes, "images", `librechat_vol_${session}.ext4`);

/** What the disk holds beside what is left. */
function fillTo(left: number): void {
  const filler = join(volumes, "filler");
  rmSync(filler, { force: true });
  const { bavail, bsize } = statfsSync(volumes);
  writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - left)));
}
const empty = () => rmSync(join(volumes, "filler"), { force: true });

async function sandboxesOf(...sessions: readonly string[]): Promise<string[]> {
  const all = await stack.containers("session");
  return all
    .filter(({ Labels }) => sessions.some((one) => JSON.stringify(Labels).includes(one)))
    .map(({ Id }) => Id);
}

/** The sandboxes of these sessions end, as at a reboot of the host. */
async function reboot(...sessions: readonly string[]): Promise<void> {
  const mine = await sandboxesOf(...sessions);
  expect(mine.length).toBeGreaterThan(0);
  await Promise.all(mine.map((id) => docker.getContainer(id).remove({ force: true })));
}

/** Files of a mebibyte, each on the disk before it is counted. */
const WRITE = `
import os, hashlib
n = 0
try:
    while n < LIMIT:
        with open(f"/mnt/session_data/{n}", "wb") as file:
            file.write(hashlib.sha256(b"%d" % n).digest() * 32768)
            file.flush()
            os.fsync(file.fileno())
        n += 1
    print("wrote", n)
except OSError as error:
    print("wrote", n, os.strerror(error.errno))
`;
const write = (limit: number) => WRITE.replace("LIMIT", String(limit));
const CHECK = (from: number, to: number) => `
import hashlib
right = [n for n in range(${from}, ${to}) if open(f"/mnt/session_data/{n}", "rb").read() == hashlib.sha256(b"%d" % n).digest() * 32768]
print("right", len(right))
`;
const wrote = (text: string) => Number(/^wrote (\d+)/.exec(text)?.[1] ?? Number.NaN);

it("a disk that sessions fill holds what they wrote, and takes no further session", {
  timeout: 120_000,
}, async () => {
  const three = ["a", "b", "c"].map(name);
  for (const session of three) await run(session, "x = 41");
  // Room for these three to their last byte, and the reserve.
  fillTo(0);
  fillTo(3 * VOLUME + RESERVE + MIB);
  const said = await Promise.all(three.map((session) => run(session, write(100))));
  const counts = said.map(({ stdout }) => wrote(stdout));
  for (const { stdout } of said) expect(stdout).toContain("No space left on device");
  for (const count of counts) expect(count).toBeGreaterThan(8);
  const further = await ask(name("d"), "1");
  expect([429, 507]).toContain(further.status);
  // Who is there can delete, write again, and has their variables.
  const again = `import os\nos.remove("/mnt/session_data/0")\nopen("/mnt/session_data/0", "w").write("again")\nprint(x + 1)`;
  expect(await run(three[0] ?? "", again)).toMatchObject({ stdout: "42\n", stderr: "" });
  await reboot(...three);
  for (const [i, session] of three.entries()) {
    const { stdout } = await run(session, CHECK(1, counts[i] ?? 0));
    expect(stdout).toBe(`right ${(counts[i] ?? 0) - 1}\n`);
  }
  empty();
  await run(name("d"), "1");
  const total = counts.reduce((sum, count) => sum + count, 0);
  row(
    "full disk, three writing sessions",
    `${total} MiB acknowledged, all there after a restart; a fourth session: ${further.status}; again served with room`,
  );
});

it("a disk that somebody else fills ends a session whose file system it fails, and what may be missing is told", {
  timeout: 120_000,
}, async () => {
  const session = name("e");
  fillTo(VOLUME + RESERVE + MIB);
  expect((await run(session, write(2))).stdout).toBe("wrote 2\n");
  const [container] = await sandboxesOf(session);
  fillTo(0);
  const { stdout } = await run(session, write(8).replace("n = 0", "n = 2"));
  // gVisor says of an fsync that failed that all is well: the file after that is the first to be refused.
  expect(stdout).toMatch(/^wrote [23] \w+/);
  await vi.waitFor(async () => expect(await sandboxesOf(session)).not.toContain(container), WITHIN);
  empty();
  const { stdout: right, stderr } = await run(session, CHECK(0, 2));
  expect(right).toBe("right 2\n");
  expect(stderr).toContain(
    "because the host's disk failed under its files, of which those written last may be missing",
  );
  expect((await run(session, write(8).replace("n = 0", "n = 2"))).stdout).toBe("wrote 8\n");
  row(
    "disk filled by others under a session",
    `code was told "${stdout.trim().replace(/^wrote \d+ /, "")}"; what was there before is; the restart, and what may be missing, told; writes again`,
  );
});

it("an image of a host that lost its power is repaired and has what was on the disk", {
  timeout: 60_000,
}, async () => {
  const session = name("f");
  expect((await run(session, write(3))).stdout).toBe("wrote 3\n");
  const kept = join(folder, "kept.ext4");
  execFileSync("cp", ["--sparse=always", imageOf(session), kept]);
  const superblock = execFileSync("dumpe2fs", ["-h", kept], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  expect(superblock).toContain("needs_recovery");
  await reboot(session);
  await expect.poll(() => mounted(session), WITHIN).toBe(false);
  execFileSync("mv", [kept, imageOf(session)]);
  expect((await run(session, CHECK(0, 3))).stdout).toBe("right 3\n");
  row(
    "dirty image",
    "3 MiB acknowledged before the power went, all there; the image was checked before it was mounted",
  );
});

const mounted = (session: string) =>
  execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" }).includes(
    imageOf(session),
  );

it("without loop devices no session gets a volume without a limit, and all get theirs when there are some again", {
  timeout: 120_000,
}, async () => {
  const [stays, ends, late] = [name("g"), name("h"), name("i")];
  for (const session of [stays, ends]) expect((await run(session, write(1))).stdout).toBe("wrote 1\n");
  await run(stays, "x = 41");
  await reboot(ends);
  await expect.poll(() => mounted(ends), WITHIN).toBe(false);
  writeFileSync(noLoop, "");
  await stack.launcher.signal("SIGUSR2");
  await stack.startLauncher();
  const refused = [await ask(ends, "1"), await ask(late, "1")];
  for (const { status, body } of refused)
    expect([status, JSON.stringify(body)]).toEqual([503, expect.stringContaining("error")]);
  await expect
    .poll(async () => (await ask(stays, "print(x + 1)")).body, WITHIN)
    .toMatchObject({ stdout: "42\n" });
  expect(readFileSync(join(volumes, "quota-mode"), "utf8")).toBe("loop\n");
  rmSync(noLoop);
  await expect
    .poll(async () => (await ask(ends, CHECK(0, 1))).body, WITHIN)
    .toMatchObject({ stdout: "right 1\n" });
  expect(existsSync(imageOf(late))).toBe(false);
  row(
    "no loop device",
    `new sandboxes: ${refused.map(({ status }) => status).join(", ")}; a running session went on; files there when devices were back, without a restart`,
  );
});

it("an engine that answers late for a while costs nobody anything but time", {
  timeout: SLOW_FOR_MS + 180_000,
}, async () => {
  const session = name("j");
  await run(session, "x = 41");
  engine.lateMs = LATE_MS;
  const until = performance.now() + SLOW_FOR_MS;
  const refused = new Map<number, number>();
  let newcomers = true;
  const others = (async () => {
    while (newcomers) {
      const { status } = await ask(name("k"), "1");
      refused.set(status, (refused.get(status) ?? 0) + 1);
      await delay(250);
    }
  })();
  let calls = 0;
  while (performance.now() < until) {
    expect((await run(session, "print(x + 1)")).stdout).toBe("42\n");
    calls += 1;
    await delay(100);
  }
  engine.lateMs = 0;
  const good = performance.now();
  await expect.poll(async () => (await ask(name("l"), "print(1)")).status, WITHIN).toBe(200);
  const seconds = (performance.now() - good) / 1000;
  newcomers = false;
  await others;
  expect((await run(session, "print(x + 1)")).stdout).toBe("42\n");
  expect([...refused.keys()].filter((status) => ![200, 429, 503].includes(status))).toEqual([]);
  row(
    `engine ${LATE_MS / 1000} s late for ${SLOW_FOR_MS / 1000} s`,
    `${calls} calls of a session served; new sessions: ${[...refused].map(([status, n]) => `${n} x ${status}`).join(", ")}; served ${seconds.toFixed(1)} s after it was well again`,
  );
});

if (LONG_FORM)
  it("a host full of idle sessions takes each next conversation, and tells who gave way", {
    timeout: 180_000,
  }, async () => {
    const conversations = Array.from({ length: PLACES + 3 }, () => name("m"));
    for (const [n, session] of conversations.entries()) await run(session, `n = ${n}`);
    let told = 0;
    for (const [n, session] of conversations.entries()) {
      const { stdout, stderr } = await run(session, "print(globals().get('n'))");
      if (stdout === "None\n") {
        expect(stderr).toContain("The session was restarted because the host was full");
        told += 1;
      } else expect([stdout, stderr]).toEqual([`${n}\n`, ""]);
    }
    expect(await health()).toMatchObject({ status: "ok", problem: null });
    row(
      "host full of idle sessions",
      `${2 * conversations.length} calls of ${conversations.length} conversations in ${PLACES} places: no refusal; ${told} lost their variables, each told`,
    );
  });

it("with all CPUs taken the host is well, and others are served", {
  timeout: COMPUTE_S * 1000 + 120_000,
}, async () => {
  const burners = Array.from({ length: Math.min(PLACES - 2, availableParallelism() + 1) }, () => name("n"));
  const neighbour = name("o");
  await run(neighbour, "x = 41");
  for (const session of burners) await run(session, "import time");
  const burn = `until = time.time() + ${COMPUTE_S}\nwhile time.time() < until: pass\nprint("done")`;
  const burning = burners.map((session) => run(session, burn, 300_000));
  let over = false;
  const all = Promise.all(burning).finally(() => {
    over = true;
  });
  const probes: number[] = [];
  let [calls, longest] = [0, 0];
  while (!over) {
    probes.push((await fetch(`${stack.baseUrl}/health`)).status);
    const { status, body, seconds } = await ask(neighbour, "print(x + 1)");
    expect([status, body]).toEqual([200, expect.objectContaining({ stdout: "42\n" })]);
    longest = Math.max(longest, seconds);
    calls += 1;
    await delay(100);
  }
  for (const { stdout } of await all) expect(stdout).toBe("done\n");
  expect(new Set(probes)).toEqual(new Set([200]));
  row(
    "all CPUs taken",
    `${burners.length} sessions computed for ${COMPUTE_S} s on ${availableParallelism()} CPUs; ${probes.length} probes all 200; ${calls} calls of another, the longest ${(longest * 1000).toFixed(0)} ms`,
  );
});

const peakMib = (pid: number) =>
  Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) / 1024;

it("code that writes byte by byte takes nobody's time and no memory", {
  timeout: COMPUTE_S * 1000 + 120_000,
}, async () => {
  const [flood, neighbour] = [name("q"), name("r")];
  await run(neighbour, "x = 41");
  await run(flood, "import os, time");
  // A call whose standard output is full ends; on standard error it may go on for ever.
  const code = `until = time.time() + ${COMPUTE_S}\nn = 0\nwhile time.time() < until:\n    if n < 1000: os.write(1, b"x")\n    os.write(2, b"y")\n    n += 1\nopen("/mnt/session_data/n", "w").write(str(n))`;
  let over = false;
  const flooding = run(flood, code, 300_000).finally(() => {
    over = true;
  });
  let [calls, longest] = [0, 0];
  while (!over) {
    const { status, body, seconds } = await ask(neighbour, "print(x + 1)");
    expect([status, body]).toEqual([200, expect.objectContaining({ stdout: "42\n" })]);
    longest = Math.max(longest, seconds);
    calls += 1;
    await delay(100);
  }
  const { stdout } = await flooding;
  expect(stdout).toMatch(/^x+/);
  const written = Number((await run(flood, 'print(open("/mnt/session_data/n").read())')).stdout);
  expect(written).toBeGreaterThan(1000);
  const { totalMib } = gatewayMemory(readSettings({}).gatewayMemoryBytes);
  const peak = Math.round(peakMib(stack.gateway.pid));
  expect(peak).toBeLessThan(totalMib);
  row(
    "writes of one byte, as fast as they go",
    `${written} in ${COMPUTE_S} s; the gateway's peak ${peak} of ${totalMib} MiB; ${calls} calls of another, the longest ${(longest * 1000).toFixed(0)} ms`,
  );
});

const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ fileId: z.string(), filename: z.string() })),
});

if (LONG_FORM)
  it("a clock that jumps makes nothing old", { timeout: SWEEPS_MS * 4 + 120_000 }, async () => {
    const session = name("p");
    expect((await run(session, `${write(1)}\nx = 41`)).stdout).toBe("wrote 1\n");
    const { body, headers } = uploadForm({}, ["kept.txt", "kept"]);
    const sent = { ...headers, "x-api-key": stack.apiKey };
    const uploaded = await fetch(`${stack.baseUrl}/v1/upload/batch`, { method: "POST", headers: sent, body });
    const { files, storage_session_id } = Uploaded.parse(await uploaded.json());
    const file = async () => {
      const at = `${stack.baseUrl}/v1/download/${storage_session_id}/${files[0]?.fileId}`;
      const response = await fetch(at, { headers: { "x-api-key": stack.apiKey } });
      return [response.status, await response.text()];
    };
    expect(await file()).toEqual([200, "kept"]);
    const jumps = [3_600_000, -3_600_000, 60 * DAY_MS];
    try {
      for (const jump of jumps) {
        writeFileSync(clock, String(jump));
        await delay(SWEEPS_MS);
        expect(await file()).toEqual([200, "kept"]);
        expect((await run(session, `${CHECK(0, 1)}\nprint(x + 1)`)).stdout).toBe("right 1\n42\n");
      }
      // With a new launcher and gateway that believe it is sixty days later.
      await stack.gateway.signal("SIGTERM");
      await stack.launcher.signal("SIGTERM");
      await stack.startLauncher();
      await stack.startGateway();
      await delay(SWEEPS_MS);
      expect(await file()).toEqual([200, "kept"]);
      expect((await run(session, CHECK(0, 1))).stdout).toBe("right 1\n");
    } finally {
      writeFileSync(clock, "0");
    }
    row(
      "clock + 1 h, - 1 h, + 60 days",
      "a stored file, a session's volume and its variables are there after each; the files also after a restart of both services 60 days ahead",
    );
  });
