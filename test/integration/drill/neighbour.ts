/** Somebody whose calls go on, on a thread of their own: what the test computes meanwhile is not in their times. */
import { parentPort, workerData } from "node:worker_threads";
import { z } from "@hono/zod-openapi";

const { url, key, session } = z
  .object({ url: z.string(), key: z.string(), session: z.string() })
  .parse(workerData);
const headers = { "content-type": "application/json", "x-api-key": key };
const body = JSON.stringify({ session_id: session, code: "print(1 + 1)" });
const Reply = z.object({ stdout: z.literal("2\n") });

const times: number[] = [];
let going = true;
parentPort?.once("message", () => {
  going = false;
});
while (going) {
  const started = performance.now();
  const response = await fetch(`${url}/run`, { method: "POST", headers, body });
  Reply.parse(await response.json());
  times.push(performance.now() - started);
  await new Promise<void>((resolve) => setImmediate(resolve));
}
parentPort?.postMessage(times);
