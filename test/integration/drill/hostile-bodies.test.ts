/** Bodies made to cost more than they are worth: the gateway keeps its memory and its process, neighbours are served. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, expect, it } from "vitest";
import { gatewayMemory } from "../../../gateway/common/gateway-memory.ts";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const BODIES = LONG_FORM ? 2_000 : 150;
const AT_ONCE = 4;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ env: { KERNELYARD_RATE_LIMITS: "off" } });
});
afterAll(() => stack?.stop());

const ROUTES = [
  ["POST", "/run"],
  ["POST", "/exec"],
  ["POST", "/exec/programmatic"],
  ["POST", "/exec/programmatic/cancel"],
  ["POST", "/upload"],
  ["POST", "/upload/batch"],
] as const;

/** From a kilobyte to beyond every limit, each size as likely as its double. */
const sizeOf = (random: () => number) => Math.floor(1024 * 2 ** (random() * 15));

/** What is repeated, and what stands around it. */
const SHAPES: readonly (readonly [string, (bytes: number) => string])[] = [
  ["elements", (n) => `{"lang":"py","code":"1","args":[${"1,".repeat(n / 2)}1]}`],
  ["objects", (n) => `{"lang":"py","code":"1","files":[${"{},".repeat(n / 3)}{}]}`],
  ["depth", (n) => `{"lang":"py","code":"1","x":${"[".repeat(n / 2)}${"]".repeat(n / 2)}}`],
  ["depth that never ends", (n) => `{"x":${'{"a":'.repeat(n / 5)}`],
  [
    "keys",
    (n) => `{"lang":"py",${Array.from({ length: n / 12 }, (_, i) => `"k${i}":${i}`).join(",")},"code":"1"}`,
  ],
  ["one key again and again", (n) => `{${'"code":"1",'.repeat(n / 11)}"lang":"py"}`],
  ["a long number", (n) => `{"lang":"py","code":"1","timeout":${"9".repeat(n)}}`],
  ["a long string", (n) => `{"lang":"nothing","code":"${"é".repeat(n / 2)}"}`],
  ["escapes", (n) => `{"lang":"nothing","code":"${"\\u0000".repeat(n / 6)}"}`],
  ["broken", (n) => `{"lang":"py","code":"${"x".repeat(n)}`],
  ["tool results", (n) => `{"continuation_token":"t","tool_results":[${"0,".repeat(n / 2)}0]}`],
  [
    "form of many fields",
    (n) => `--b\r\n${'Content-Disposition: form-data; name="kind"\r\n\r\nx\r\n--b\r\n'.repeat(n / 55)}`,
  ],
];

const peakMib = (pid: number) =>
  Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) / 1024;

it(`${BODIES} of them`, { timeout: 60_000 + BODIES * 1_000 }, async () => {
  const { pid } = stack.gateway;
  const session = { session_id: "neighbour", code: "print(1 + 1)" };
  expect((await stack.post("/run", session)).status).toBe(200);
  const random = seeded(7);
  let left = BODIES;
  const statuses = new Map<number, number>();
  const attack = async () => {
    while (left-- > 0) {
      const [method, path] = ROUTES[Math.floor(random() * ROUTES.length)] ?? ROUTES[0];
      const [, make] = SHAPES[Math.floor(random() * SHAPES.length)] ?? ["", () => ""];
      const type = path.startsWith("/upload") ? "multipart/form-data; boundary=b" : "application/json";
      const headers = { "x-api-key": stack.apiKey, "content-type": type };
      const body = Buffer.from(make(sizeOf(random)));
      // Refused before it was sent to its end: the connection may go under the sender.
      const status = await fetch(`${stack.baseUrl}${path}`, { method, headers, body }).then(
        async (response) => {
          await response.arrayBuffer();
          return response.status;
        },
        () => 0,
      );
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  const neighbour = new Worker(new URL("./neighbour.ts", import.meta.url), {
    workerData: { url: stack.baseUrl, key: stack.apiKey, session: session.session_id },
  });
  const finished = once(neighbour, "message");
  await Promise.all(Array.from({ length: AT_ONCE }, attack));
  neighbour.postMessage("stop");
  const times = z.array(z.number()).parse((await finished)[0]);
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? Number.NaN).toFixed(1);
  const peak = Math.round(peakMib(pid));
  const { totalMib } = gatewayMemory(readSettings({}).gatewayMemoryBytes);
  process.stdout.write(
    `${BODIES} bodies: ${[...statuses].map(([status, n]) => `${n} x ${status}`).join(", ")}; ` +
      `peak ${peak} of ${totalMib} MiB; a neighbour's ${times.length} calls: p50 ${at(0.5)}, p99 ${at(0.99)} ms\n`,
  );
  expect(stack.gateway.pid).toBe(pid);
  expect(peak).toBeLessThan(totalMib);
  expect([...statuses.keys()].filter((status) => status >= 500)).toEqual([]);
});
