/** Bodies made to cost more than they are worth: the gateway keeps its memory and its process, neighbours are served. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, expect, it } from "vitest";
import { gatewayMemory } from "../../../gateway/common/gateway-memory.ts";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { LONG_FORM } from "../../support/drill.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const BODIES = LONG_FORM ? 2_000 : 150;
const AT_ONCE = 4;
/** For 99 of 100 calls of a neighbour's. */
const AIM_MS = 50;
const attackers = join(import.meta.dirname, "attackers.ts");

const run = promisify(execFile);
/** Attackers are on other machines: here they take what CPU time nobody else wants, as a scheduling group of their own where there are such. */
const ELSEWHERE = 'echo 19 > /proc/$$/autogroup 2> /dev/null; exec nice -n 19 "$@"';
const Statuses = z.record(z.string(), z.number());

let stack: Stack;
beforeAll(async () => {
  // Without the limits of a caller's rate, by which nearly all of these bodies would be refused unread: unit/http/intake
  // has that, contract/habits the limits as they are.
  // Templates as a host has them: a pool that fills by cold starts takes both CPUs from the neighbour for seconds.
  const checkpoints = LONG_FORM ? "ready" : "off";
  stack = await startStack({ checkpoints, env: { KERNELYARD_RATE_LIMITS: "off" } });
}, 180_000);
afterAll(() => stack?.stop());

const peakMib = (pid: number) =>
  Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) / 1024;

it(`${BODIES} of them`, { timeout: 60_000 + BODIES * 1_000 }, async () => {
  const { pid } = stack.gateway;
  const session = { session_id: "neighbour", code: "print(1 + 1)" };
  expect((await stack.post("/run", session)).status).toBe(200);
  const neighbour = new Worker(new URL("./neighbour.ts", import.meta.url), {
    workerData: { url: stack.baseUrl, key: stack.apiKey, session: session.session_id },
  });
  const finished = once(neighbour, "message");
  const attack = { url: stack.baseUrl, key: stack.apiKey, bodies: BODIES, atOnce: AT_ONCE };
  const { stdout } = await run(
    "setsid",
    ["--wait", "sh", "-c", ELSEWHERE, "sh", process.execPath, attackers, JSON.stringify(attack)],
    { maxBuffer: 64 * 1024 },
  );
  const statuses = Statuses.parse(JSON.parse(stdout));
  neighbour.postMessage("stop");
  const times = z.array(z.number()).parse((await finished)[0]);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? Number.NaN;
  const peak = Math.round(peakMib(pid));
  const { totalMib } = gatewayMemory(readSettings({}).gatewayMemoryBytes);
  process.stdout.write(
    `${BODIES} bodies: ${Object.entries(statuses)
      .map(([status, n]) => `${n} x ${status}`)
      .join(", ")}; ` +
      `peak ${peak} of ${totalMib} MiB; a neighbour's ${times.length} calls: p50 ${at(0.5).toFixed(1)}, p99 ${at(0.99).toFixed(1)} ms\n`,
  );
  expect(stack.gateway.pid).toBe(pid);
  expect(peak).toBeLessThan(totalMib);
  expect(Object.keys(statuses).filter((status) => Number(status) === 200 || Number(status) >= 500)).toEqual(
    [],
  );
  // The machine is the drill's own.
  if (LONG_FORM) expect(at(0.99)).toBeLessThan(AIM_MS);
});
