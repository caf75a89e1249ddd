/** CPU time is counted for the part whose process has used it, and for that one alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CpuTime } from "../../bench/yardsticks/cpu-time.ts";

const BURNT_MS = 60;
const BURN = `process.on("message", (ms) => {
  const began = process.cpuUsage();
  for (let spent = 0; spent < ms * 1000; ) {
    const { system, user } = process.cpuUsage(began);
    spent = system + user;
  }
  process.send("done");
});
process.send("ready");`;

const start = () => spawn(process.execPath, ["-e", BURN], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
let gateway: ReturnType<typeof start>;

beforeAll(async () => {
  gateway = start();
  await once(gateway, "message");
});
afterAll(() => void gateway.kill());

test("is what a part's process has used meanwhile, each time it is asked for", async () => {
  const cpu = new CpuTime({ gateway: gateway.pid ?? 0, launcher: 0 });
  const work = async () => {
    const done = once(gateway, "message");
    gateway.send(BURNT_MS);
    await done;
    return "its result";
  };
  expect(await cpu.during(work)).toBe("its result");
  const first = cpu.of("gateway");
  expect(first).toBeGreaterThan(BURNT_MS * 0.9);
  await work();
  expect(cpu.of("gateway")).toBe(first);
  await cpu.during(work);
  expect(cpu.of("gateway")).toBeGreaterThan(first + BURNT_MS * 0.9);
  expect(cpu.of("launcher")).toBe(0);
});
