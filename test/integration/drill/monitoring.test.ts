/**
 * Minutes of a service at work, as Prometheus sees them by the shipped configuration, and every alert in a fault that is staged, with what its
 * runbook says typed while it fires. A second Prometheus has the same rules with each span a thirtieth of what it is, so that nobody waits for
 * hours; that the spans are right is `promtool`'s word (`monitoring/rules.test.ts`). The short form is `monitoring/watched.test.ts`.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SERVICE_USER } from "../../../gateway/host/isolation.ts";
import { ALERTS } from "../../../monitoring/alerts.ts";
import { DASHBOARDS } from "../../../monitoring/dashboards/all.ts";
import { DrillHosts, type Host, OTHER_KEY } from "./monitoring/hosts.ts";
import { SHOWS } from "./monitoring/shows.ts";
import { Watch } from "./monitoring/watch.ts";

const AT_WORK_S = 300;
const SCRAPE_S = 15;
/** As Grafana has it where a scrape is fifteen seconds. */
const RATE_INTERVAL = "60s";
/** What is wrong on `west` from its start on. */
const FROM_THE_START = [
  ["KernelyardNoDiskQuota", "it had no loop devices when its data directory was made"],
  ["KernelyardUnsafe", "KERNELYARD_ISOLATION=runc-unsafe"],
] as const;
const startOf = ({ instance }: Host) =>
  `kernelyard_start_time_seconds{process="gateway",instance="${instance}"}`;
const MIB = 1024 * 1024;

const hosts = new DrillHosts();
let watch: Watch;
const load = new AbortController();
let working: Promise<unknown> = Promise.resolve();
let workingFor = 0;
const answers = new Map<number, number>();

beforeAll(async () => {
  await hosts.start();
  watch = await Watch.of(hosts.all);
  workingFor = performance.now();
  working = Promise.all([work(), fleetWork()]);
}, 300_000);

afterAll(async () => {
  load.abort();
  await working;
  await watch?.stop();
  await hosts.stop();
  if (watch !== undefined) process.stdout.write(`${watch.table()}\n`);
}, 180_000);

const status = (answer: Promise<Response>) =>
  answer.then(
    async (one) => {
      await one.text();
      return one.status;
    },
    () => 0,
  );
/** Others use the engine, too, and sessions name its volumes. */
const named = (session: string) => `monitoring-${session}`;
const runOn = ({ stack }: Host, session: string, code: string, key = stack.apiKey) =>
  status(stack.post("/run", { session_id: named(session), code }, { "x-api-key": key }));
const freshOn = ({ stack }: Host, code = "print(1)", lang = "py") =>
  status(stack.post("/v1/exec", { lang, code }));
const run = (session: string, code: string, key?: string) => runOn(hosts.busy, session, code, key);

/** Calls of every kind until the end, from callers who wait for nobody else's. */
async function work(): Promise<void> {
  const { stack } = hosts.busy;
  const count = "n = globals().get('n', 0) + 1; print(n)";
  const callers = [
    [1_000, () => run("watched", count)],
    [1_000, () => run("others", count, OTHER_KEY)],
    [1_000, () => freshOn(hosts.busy)],
    [2_000, () => freshOn(hosts.busy, "false", "bash")],
    [4_000, () => status(stack.post("/run", { session_id: named("watched") }))],
    [8_000, () => run("watched", "1", "wrong")],
  ] as const;
  await Promise.all(
    callers.map(async ([everyMs, call]) => {
      while (!load.signal.aborted) {
        const code = await call();
        answers.set(code, (answers.get(code) ?? 0) + 1);
        await delay(everyMs);
      }
    }),
  );
}

/** Calls of a session that either host gets and one of them has. */
async function fleetWork(): Promise<void> {
  while (!load.signal.aborted && !hosts.fleetIsAlone) {
    for (const host of [hosts.east, hosts.west]) await runOn(host, "travels", "1");
    await delay(2_000);
  }
}

const queries = Object.values(DASHBOARDS).flatMap(({ rows, title: dashboard }) =>
  rows.flatMap(({ panels }) =>
    panels.flatMap((panel) =>
      panel.queries.map(({ expr }) => ({
        panel: `${dashboard}: ${panel.title}`,
        expr: expr.replaceAll("$__rate_interval", RATE_INTERVAL).replaceAll("$instance", ".*"),
      })),
    ),
  ),
);

it("at work nothing fires but what is wrong from the start, and every panel gets data", {
  timeout: 240_000,
}, async () => {
  await Promise.all(
    FROM_THE_START.map(([alert, how]) =>
      watch.until({ host: hosts.west, alerts: [alert], how, fromTheStart: true }, () => delay(500)),
    ),
  );
  let left = queries;
  while (left.length > 0) {
    const found = await Promise.all(left.map(({ expr }) => watch.shipped.query(expr)));
    left = left.filter((_, index) => found[index]?.length === 0);
    if (left.length > 0) await delay(2_000);
  }
  const firing = (await watch.shipped.firing()).map(({ name, instance }) => `${name} ${instance}`);
  expect(firing.filter((one) => one !== `KernelyardUnsafe ${hosts.west.instance}`)).toEqual([]);
  expect(await watch.shipped.brokenRules()).toEqual([]);
  expect(await watch.hurried.brokenRules()).toEqual([]);
});

/** One that breaks off leaves the others their time. */
describe("faults, side by side,", { timeout: 900_000 }, () => {
  it.concurrent("of callers and neighbours", busy);
  it.concurrent("of engine, loop devices and disk", troubled);
  it.concurrent("of the service's parts and the fleet's engine", fleet);
});

async function busy(): Promise<void> {
  await Promise.all([refusals(), removals(), strangers(), queue()]);
  await descriptors();
  await Promise.all([stalls(), auditDisk(), requestMemory()]);
  await fullHost();
  await damagedSleepers();
}

async function refusals(): Promise<void> {
  await freshOn(hosts.busy, "open('/mnt/data/a.bin', 'wb').write(bytes(7_700_000))");
  const host = hosts.busy;
  await Promise.all([
    watch.until({ host, alerts: ["KernelyardFilesNearLimit"], how: "7.7 MB stored where 8 MiB may be" }, () =>
      delay(500),
    ),
    watch.until({ host, alerts: ["KernelyardCredentialsRefused"], how: "calls with a wrong key" }, () =>
      Promise.all(Array.from({ length: 6 }, () => run("watched", "1", "wrong"))),
    ),
  ]);
}

async function removals(): Promise<void> {
  const how = "somebody removes the containers of three sessions, again and again";
  const { stack } = hosts.busy;
  const lose = async (session: string) => {
    await run(session, "x = 1");
    // At once: it would be asleep soon, and have none.
    for (const { Id, Labels } of await stack.containers("session"))
      if (JSON.stringify(Labels).includes(named(session)))
        await stack.docker.getContainer(Id).remove({ force: true });
  };
  await watch.until({ host: hosts.busy, alerts: ["KernelyardKernelsLost"], asShipped: true, how }, () =>
    Promise.allSettled([0, 1, 2].map((n) => lose(`lost-${n}`))),
  );
}

/** Containers that name no sandbox, and devices that somebody else holds. */
async function strangers(): Promise<void> {
  const { stack } = hosts.busy;
  const Labels = { "kernelyard.instance": stack.instance };
  await watch.until(
    {
      host: hosts.busy,
      alerts: ["KernelyardOrphans"],
      asShipped: true,
      how: "containers with its label that name no sandbox",
    },
    () => stack.docker.createContainer({ Image: "custom-rce-kernel:latest", Labels }),
  );
  const devices = Array.from({ length: 12 }, (_, n) => {
    const file = join(stack.dataDir, "volumes/images", `drill-${n}`);
    writeFileSync(file, "");
    truncateSync(file, MIB);
    const device = execFileSync("losetup", ["--find", "--show", file], { encoding: "utf8" }).trim();
    return { device, descriptor: openSync(device, "r"), file };
  });
  await watch.until(
    {
      host: hosts.busy,
      alerts: ["KernelyardLoopDevicesLeak"],
      how: "12 devices in front of its images are held open",
    },
    () => delay(500),
  );
  for (const { descriptor, device, file } of devices) {
    closeSync(descriptor);
    // The sweep has told the kernel to free it at its last close.
    spawnSync("losetup", ["--detach", device]);
    rmSync(file);
  }
}

async function queue(): Promise<void> {
  const how = "eight callers of one session, two seconds each";
  const over = new AbortController();
  const callers = Array.from({ length: 16 }, async (_, n) => {
    while (!over.signal.aborted) await run(`queue-${n % 2}`, "import time\ntime.sleep(2)", OTHER_KEY);
  });
  await watch.until({ host: hosts.busy, alerts: ["KernelyardSessionsWait"], how }, () => delay(500));
  over.abort();
  await Promise.all(callers);
}

async function descriptors(): Promise<void> {
  const { gatewayPid } = hosts.busy.stack;
  // As the gateway's own user: root may lack what it takes to do it to another's process.
  const [, before] =
    /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${gatewayPid}/limits`, "utf8")) ?? [];
  const as = ["--reuid", SERVICE_USER, "--regid", SERVICE_USER, "--clear-groups"];
  const limit = (value: number) =>
    void execFileSync("setpriv", [...as, "prlimit", `--pid=${gatewayPid}`, `--nofile=${value}:`]);
  limit(Math.ceil(readdirSync(`/proc/${gatewayPid}/fd`).length * 1.25));
  const how = "the gateway's limit is a quarter above what is open";
  await watch.until({ host: hosts.busy, alerts: ["KernelyardDescriptors"], how }, () => delay(500));
  limit(Number(before));
}

async function stalls(): Promise<void> {
  const { gatewayPid } = hosts.busy.stack;
  const how = "the gateway is stopped for a third of the time";
  await watch.until({ host: hosts.busy, alerts: ["KernelyardGatewayStalls"], how }, async () => {
    process.kill(gatewayPid, "SIGSTOP");
    await delay(320);
    process.kill(gatewayPid, "SIGCONT");
  });
}

async function auditDisk(): Promise<void> {
  const filler = join(hosts.busy.stack.dataDir, "gateway/audit/filler");
  const { bavail, bsize } = statfsSync(join(filler, ".."));
  writeFileSync(filler, Buffer.alloc(bavail * bsize));
  const how = "the audit log's disk is full";
  await watch.until({ host: hosts.busy, alerts: ["KernelyardAuditLost"], asShipped: true, how }, () =>
    run("others", "1", OTHER_KEY),
  );
  rmSync(filler);
}

/** All of one key, as where LibreChat has one. */
async function requestMemory(): Promise<void> {
  const { stack } = hosts.busy;
  const sockets = Array.from({ length: 70 }, () => {
    const socket = connect(Number(new URL(stack.baseUrl).port), "127.0.0.1");
    socket.on("error", () => {});
    const head = [
      "POST /v1/exec HTTP/1.1",
      "host: x",
      `x-api-key: ${stack.apiKey}`,
      "content-type: application/json",
      `content-length: ${MIB / 2}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n{`);
    return socket;
  });
  const how = "bodies of one key that do not come on";
  await watch.until({ host: hosts.busy, alerts: ["KernelyardRequestMemory"], how }, () => delay(500));
  for (const socket of sockets) socket.destroy();
}

async function fullHost(): Promise<void> {
  const full = new AbortController();
  const on = async (session: string, key: string, code: string) => {
    while (!full.signal.aborted) {
      await run(session, code, key);
      await delay(200);
    }
  };
  const keys = [hosts.busy.stack.apiKey, OTHER_KEY];
  const long = "import time\ntime.sleep(20)";
  const callers = keys.flatMap((key) => [
    ...Array.from({ length: 4 }, (_, n) => on(`long-${n}`, key, long)),
    ...Array.from({ length: 20 }, (_, n) => on(`full-${n}`, key, "1")),
  ]);
  const how = "48 callers of two tenants, eight with calls of 20 s, in five places";
  const alerts = ["KernelyardHostFull", "KernelyardCallersLimited", "KernelyardPoolEmpty"];
  await watch.until({ host: hosts.busy, alerts, how }, () => delay(1_000));
  full.abort();
  await Promise.all(callers);
}

async function damagedSleepers(): Promise<void> {
  const asleep = join(hosts.busy.stack.dataDir, "checkpoints/sessions");
  const how = "saved memory of sessions asleep is damaged";
  await watch.until(
    { host: hosts.busy, alerts: ["KernelyardCheckpointsFail"], asShipped: true, how },
    async () => {
      await Promise.all([0, 1, 2].map((n) => run(`asleep-${n}`, "x = 1")));
      await delay(4_500);
      for (const name of readdirSync(asleep)) {
        if (spawnSync("truncate", ["-s", "1M", join(asleep, name, "pages.img")]).status !== 0) continue;
      }
    },
  );
}

async function troubled(): Promise<void> {
  const host = hosts.troubled;
  const { dataDir } = host.stack;
  const volumes = join(dataDir, "volumes");
  await runOn(host, "stays", "1");
  const filling = new AbortController();
  const filler = (async () => {
    while (!filling.signal.aborted) {
      appendFileSync(join(volumes, "filler"), Buffer.alloc(MIB / 8));
      await delay(500);
    }
  })();
  const disk = watch.until(
    { host, alerts: ["KernelyardDiskFilling"], how: "somebody writes 250 KiB a second" },
    () => delay(500),
  );
  await engineStartsNothing(host);
  hosts.setLoopDevices(false);
  const broken = watch.until(
    {
      host,
      alerts: ["KernelyardVolumesBroken"],
      how: "no loop device can be had any more",
      asShipped: true,
    },
    async () => {
      await runOn(host, "begins", "1");
      await delay(3_000);
    },
  );
  await engineFaults(host);
  await broken;
  hosts.setLoopDevices(true);
  let n = 0;
  const how = "sessions one after another where none can sleep";
  await watch.until({ host, alerts: ["KernelyardSessionsGiveWay"], asShipped: true, how }, () =>
    Promise.all(Array.from({ length: 4 }, () => runOn(host, `gives-way-${n++}`, "x = 1"))),
  );
  await disk;
  filling.abort();
  await filler;
  const { bavail, bsize } = statfsSync(volumes);
  execFileSync("fallocate", ["-l", String(bavail * bsize - 32 * MIB), join(volumes, "rest")]);
  await watch.until(
    { host, alerts: ["KernelyardDiskFull"], how: "somebody fills the disk", asShipped: true },
    () => delay(500),
  );
  for (const name of ["filler", "rest"]) rmSync(join(volumes, name));
}

async function engineStartsNothing(host: Host): Promise<void> {
  const { engine } = hosts;
  engine.refused = /^POST \S*\/containers\/\S*\/start/;
  await watch.until(
    { host, alerts: ["KernelyardStartsFail"], asShipped: true, how: "the engine starts nothing" },
    () => freshOn(host),
  );
  engine.refused = null;
}

async function engineFaults(host: Host): Promise<void> {
  const { engine } = hosts;
  engine.refused = /^DELETE \S*\/containers\//;
  await watch.until({ host, alerts: ["KernelyardLeftovers"], how: "the engine removes nothing" }, () =>
    freshOn(host),
  );
  engine.refused = null;
  engine.lateMs = 2_600;
  await watch.until(
    {
      host,
      alerts: ["KernelyardEngineSlow", "KernelyardStartsSlow"],
      how: "each answer of the engine comes 2.6 s late",
    },
    () => freshOn(host),
  );
  engine.lateMs = 0;
  await engine.close();
  await watch.until(
    { host, alerts: ["KernelyardEngineAway"], how: "the engine's socket is gone", asShipped: true },
    () => freshOn(host),
  );
  await engine.open();
}

async function fleet(): Promise<void> {
  const { east, west } = hosts;
  hosts.setClock(120_000);
  await watch.until({ host: west, alerts: ["KernelyardClockWrong"], how: "its clock is 2 min ahead" }, () =>
    delay(500),
  );
  const how = "its bucket is not there, and its clock goes on by 40 min";
  hosts.setClock(2_400_000);
  await watch.until({ host: west, alerts: ["KernelyardAuditCopyBehind"], asShipped: true, how }, () =>
    delay(500),
  );
  hosts.setClock(0);
  hosts.fleetIsAlone = true;
  hosts.directory.signal("SIGSTOP");
  const apart = watch.until(
    {
      host: east,
      alerts: ["KernelyardFleetAway"],
      how: "the fleet's engine stands still",
      asShipped: true,
    },
    () => delay(500),
  );
  await west.stack.launcher.signal("SIGKILL");
  const killed = "the launcher is killed";
  await Promise.all([
    watch.until({ host: west, alerts: ["KernelyardLauncherAway"], how: killed, asShipped: true }, () =>
      delay(500),
    ),
    watch.until({ host: west, alerts: ["KernelyardErrors", "KernelyardNotExecuting"], how: killed }, () =>
      freshOn(west),
    ),
  ]);
  await apart;
  hosts.directory.signal("SIGCONT");
  await west.stack.startLauncher();
  await west.stack.gateway.signal("SIGKILL");
  await watch.until(
    { host: west, alerts: ["KernelyardDown"], how: "the gateway is killed", asShipped: true },
    () => delay(500),
  );
  await west.stack.startGateway();
  await watch.until(
    {
      host: west,
      alerts: ["KernelyardRestarts"],
      asShipped: true,
      between: true,
      how: "the gateway is killed again and again",
    },
    async () => {
      const seen = () => watch.shipped.query(startOf(west));
      const before = await seen();
      await west.stack.gateway.signal("SIGKILL");
      await west.stack.startGateway();
      while ([undefined, before[0]].includes((await seen())[0])) await delay(500);
    },
  );
}

it("it was under load for five minutes of scrapes, and every panel has a line", {
  timeout: 360_000,
}, async () => {
  await expect
    .poll(() => performance.now() - workingFor, { timeout: AT_WORK_S * 1000, interval: 1_000 })
    .toBeGreaterThan(AT_WORK_S * 1000);
  load.abort();
  await working;
  const [scrapes = 0] = await watch.shipped.query(
    `count_over_time(up{instance="${hosts.busy.instance}"}[1h])`,
  );
  expect(scrapes).toBeGreaterThanOrEqual(AT_WORK_S / SCRAPE_S);
  const points = await Promise.all(
    queries.map(async ({ expr, panel }) => ({
      panel,
      points: await watch.shipped.points(expr, (performance.now() - workingFor) / 1000, SCRAPE_S),
    })),
  );
  const said = [...answers].sort().map(([code, count]) => `${count} x ${code}`);
  process.stdout.write(
    `${scrapes} scrapes under load, answers: ${said.join(", ")}; ${queries.length} queries of all panels, at least ${Math.min(...points.map((one) => one.points))} points each\n`,
  );
  expect(points.filter((one) => one.points === 0)).toEqual([]);
  expect(await watch.shipped.brokenRules()).toEqual([]);
});

describe.each(ALERTS)("$name", ({ for: lasts, name }) => {
  it("fired", () => {
    // What counts over a while and lasts no time needs no hurry.
    const after = lasts === "0m" ? watch.asShipped.get(name) : watch.seen.get(name)?.firedAfter;
    expect(after).toEqual(expect.any(Number));
  });

  it("its runbook's commands showed it", () => {
    const said = watch.seen.get(name)?.said ?? "";
    for (const shown of SHOWS[name] ?? []) expect(said).toMatch(shown);
    expect(SHOWS[name]).not.toBeUndefined();
  });
});
