/** The canary with a clock and an executor of this test; the real one refuses and times out as these outcomes say. */
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import type { CallOutcome, Executor, Finished } from "../../../gateway/server/execution/call.ts";
import { Canary } from "../../../gateway/server/execution/canary.ts";
import { HEALTH } from "../sessions/launcher-stand-in.ts";

const PROVEN: Finished = {
  kind: "finished",
  stdout: "42\n",
  stderr: "",
  stdoutTruncated: false,
  stderrTruncated: false,
  exitCode: 0,
  signal: null,
  reason: null,
  wallTimeMs: 1,
  timeoutMs: 20_000,
  kernel: { status: "new", after: "gone", cells: 0, lostBefore: null, waitedMs: 0, gaveWay: false },
  inputs: null,
  leftBehind: { paths: [], counts: {}, directory: null },
  undelivered: [],
  takenBack: false,
};
const SLOW: CallOutcome = { ...PROVEN, stdout: "", exitCode: null, signal: "SIGKILL", reason: "timeout" };
const AWAY: CallOutcome = {
  kind: "unavailable",
  error: "launcher_unavailable",
  message: "the launcher is away",
};

function canary() {
  let now = 0;
  let next: (() => Promise<CallOutcome>) | null = null;
  let executions = 0;
  const executor: Executor = {
    execute: () => {
      executions += 1;
      return next?.() ?? Promise.reject(new Error("this test did not expect an execution"));
    },
    languages: () => [],
  };
  const monitor = new Canary({
    executor,
    launcher: { health: async () => HEALTH },
    full: () => false,
    log: pino({ level: "silent" }),
    elapsed: () => now,
  });
  return {
    monitor,
    executions: () => executions,
    pass: (seconds: number) => {
      now += seconds * 1000;
    },
    outcome: (outcome: CallOutcome) => {
      next = () => Promise.resolve(outcome);
    },
    hang: () => {
      const hanging = Promise.withResolvers<CallOutcome>();
      next = () => hanging.promise;
      return hanging.resolve;
    },
  };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("a probe", () => {
  it("is answered from the last execution while the next one hangs", async () => {
    const { monitor, executions, hang, outcome, pass } = canary();
    outcome(PROVEN);
    expect(await monitor.healthy()).toBe(true);
    const finish = hang();
    for (let probe = 0; probe < 8; probe++) {
      pass(11);
      expect(await monitor.healthy()).toBe(true);
    }
    expect(executions()).toBe(2);
    finish(AWAY);
    await settled();
    expect(await monitor.healthy()).toBe(false);
  });

  it("waits for an execution when the last one is long ago", async () => {
    const { monitor, outcome, pass } = canary();
    outcome(PROVEN);
    await monitor.healthy();
    pass(3600);
    outcome(AWAY);
    expect(await monitor.healthy()).toBe(false);
  });

  it("learns soon that the host is well again, and does not start a sandbox each time", async () => {
    const { monitor, executions, outcome, pass } = canary();
    outcome(AWAY);
    for (let probe = 0; probe < 5; probe++) {
      expect(await monitor.healthy()).toBe(false);
      pass(1);
    }
    expect(executions()).toBe(1);
    outcome(PROVEN);
    pass(1);
    await monitor.healthy();
    await settled();
    expect(await monitor.healthy()).toBe(true);
  });
});

describe("load", () => {
  it("is no sickness for minutes, and one in the end", async () => {
    const { monitor, outcome, pass } = canary();
    outcome(PROVEN);
    await monitor.healthy();
    for (const slow of [SLOW, { kind: "host_full" } as const, { kind: "cancelled" } as const]) {
      outcome(slow);
      pass(91);
      expect(await monitor.report()).toMatchObject({ state: "ok", lastCanary: { ok: false } });
    }
    pass(91);
    expect(await monitor.report()).toMatchObject({
      state: "unhealthy",
      problem: "the canary found no sandbox in time",
    });
  });

  it("proves nothing on a host that never executed code", async () => {
    const { monitor, outcome } = canary();
    outcome(SLOW);
    expect(await monitor.healthy()).toBe(false);
  });
});
