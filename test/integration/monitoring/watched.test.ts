/** A real Prometheus watches a real service at work. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { METRICS } from "../../../gateway/server/metrics/table.ts";
import { ALERTS } from "../../../monitoring/alerts.ts";
import { DASHBOARDS } from "../../../monitoring/dashboards/all.ts";
import { freePort } from "../../support/free-port.ts";
import { type Stack, startStack } from "../../support/stack.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../files/s3-server.ts";
import { Prometheus } from "./prometheus.ts";
import { asWritten, typed } from "./runbook.ts";

const LOOK_EVERY_MS = 500;
/** The S3 server is built the first time. */
const BUILT_WITHIN_MS = 600_000;

let stack: Stack;
let s3: S3Server;
let prometheus: Prometheus;
let metricsPort: number;
const load = new AbortController();
let working: Promise<void>;

/** Calls of every kind until the end, so that rates have something to say at any time. */
async function work(): Promise<void> {
  while (!load.signal.aborted) {
    const answers = await Promise.all([
      stack.post("/run", { session_id: "watched", code: "n = globals().get('n', 0) + 1; print(n)" }),
      stack.post("/v1/exec", { lang: "py", code: "print(1)" }),
      stack.post("/v1/exec", { lang: "bash", code: "false" }),
      stack.post("/run", { session_id: "watched" }),
      stack.post("/run", { session_id: "watched", code: "1" }, { "x-api-key": "wrong" }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 400, 401]);
    await delay(LOOK_EVERY_MS);
  }
}

beforeAll(async () => {
  metricsPort = await freePort();
  s3 = await startS3();
  stack = await startStack({
    checkpoints: "default",
    env: {
      KERNELYARD_METRICS_PORT: String(metricsPort),
      KERNELYARD_RATE_LIMITS: "off",
      KERNELYARD_FILES_TOTAL: "1g",
      ...TEST_CREDENTIALS,
      KERNELYARD_AUDIT_S3_BUCKET: await s3.makeBucket(),
      KERNELYARD_S3_ENDPOINT: s3.endpoint,
    },
  });
  prometheus = await Prometheus.start([`127.0.0.1:${metricsPort}`]);
  working = work();
}, BUILT_WITHIN_MS);

afterAll(async () => {
  load.abort();
  await working;
  await prometheus?.stop();
  await stack?.stop();
  await s3?.stop();
});

const metricsText = async () => (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

it("every metric of the table is served, and has a value once the service works; whether a fleet is well is not said by a host that is alone", async () => {
  const names = Object.keys(METRICS);
  const ofAFleet = ["kernelyard_fleet_member", "kernelyard_fleet_hosts"];
  for (;;) {
    const text = await metricsText();
    for (const name of names) expect(text).toContain(`# TYPE ${name} `);
    const silent = names.filter((name) => !new RegExp(`^${name}(_count)?[{ ]`, "m").test(text));
    expect(silent).toEqual(expect.arrayContaining(ofAFleet));
    if (silent.length === ofAFleet.length) break;
    await delay(LOOK_EVERY_MS);
  }
});

describe.each(Object.entries(DASHBOARDS))("%s", (_file, { rows }) => {
  const queries = rows.flatMap(({ panels }) =>
    panels.flatMap((panel) => panel.queries.map(({ expr }) => ({ title: panel.title, expr }))),
  );

  it("every panel has data, but for a fleet's where a host is alone", async () => {
    let left = queries.filter(({ expr }) => !expr.includes("kernelyard_fleet_"));
    while (left.length > 0) {
      const answers = await Promise.all(
        left.map(({ expr }) =>
          prometheus.query(expr.replaceAll("$__rate_interval", "30s").replaceAll("$instance", ".*")),
        ),
      );
      left = left.filter((_, index) => answers[index]?.length === 0);
      if (left.length > 0) await delay(LOOK_EVERY_MS);
    }
  });
});

describe("runbooks", () => {
  const commands = [...new Set(ALERTS.flatMap(({ look }) => look.map(({ command }) => command)))];

  // The doctor has a test of its own, and needs the machine for itself.
  it.each(commands.filter((command) => command !== "npm run doctor"))("%s", async (command) => {
    const { code, stdout } = await typed(asWritten(command, stack, `127.0.0.1:${metricsPort}`));
    expect(code).toBe(0);
    expect(stdout).not.toBe("");
  });
});

it("no alert fires while it works, and that of the launcher is on its way as soon as it is gone", async () => {
  const away = async () => (await prometheus.alerts("firing", "pending")).includes("KernelyardLauncherAway");
  expect(await prometheus.alerts("firing")).toEqual([]);
  expect(await away()).toBe(false);
  load.abort();
  await working;
  await stack.launcher.signal("SIGKILL");
  while (!(await away())) await delay(LOOK_EVERY_MS);
  expect(await prometheus.query("kernelyard_launcher_up")).toEqual([0]);
  await stack.startLauncher();
  while (await away()) await delay(LOOK_EVERY_MS);
});
