/** Another caller, as a process of its own: small requests until told to stop, then their number and median in ms. */
import { Agent, request } from "node:http";

const url = process.argv[2];
if (url === undefined) throw new Error("usage: probe.ts URL");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const times: number[] = [];
let stopped = false;

function ask(target: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(target, { agent, headers: { "x-test-caller": "t" } }, (incoming) => {
      incoming.resume();
      incoming.on("end", resolve);
      incoming.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

process.on("message", () => {
  stopped = true;
});
await ask(url);
process.send?.({ ready: true });
while (!stopped) {
  const started = performance.now();
  await ask(url);
  times.push(performance.now() - started);
}
times.sort((a, b) => a - b);
process.send?.({
  median: times[Math.floor(times.length / 2)] ?? Number.POSITIVE_INFINITY,
  count: times.length,
});
process.disconnect();
agent.destroy();
