/** The simulation keeps its own rules, whatever the day is like: otherwise its numbers mean nothing. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Clock } from "../../simulate/clock.ts";
import { type Costs, readCosts } from "../../simulate/costs.ts";
import { Random } from "../../simulate/random.ts";
import { type Options, simulate, type Watched } from "../../simulate/simulate.ts";
import { DAY_ENDS, WORKDAY } from "../../simulate/workload.ts";

const COSTS = readCosts();

/** Small hosts, crowded days: everything that can happen does. */
const day = fc
  .record({
    users: fc.integer({ min: 1, max: 150 }),
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
    memoryGib: fc.constantFrom(3, 4, 8),
    leastHosts: fc.integer({ min: 1, max: 3 }),
    moreHosts: fc.integer({ min: 0, max: 4 }),
    freshShare: fc.constantFrom(0, 0.15, 1),
    classShare: fc.constantFrom(0, 0.15, 1),
    pairShare: fc.constantFrom(0, 0.08, 1),
    sleepDisk: fc.constantFrom("1g", "20g"),
    slow: fc.constantFrom(1, 20),
  })
  .map(
    ({ leastHosts, memoryGib, moreHosts, seed, sleepDisk, slow, users, ...shares }): Options => ({
      users,
      seed,
      costs: slowed(COSTS, slow),
      machine: { cpus: 2, memoryGib },
      leastHosts,
      mostHosts: leastHosts + moreHosts,
      workload: { ...WORKDAY, ...shares },
      environment: { KERNELYARD_SLEEP_DISK: sleepDisk },
    }),
  );

function slowed(costs: Costs, times: number): Costs {
  const slower = (cost: Costs["wake"]) => ({ ...cost, p50: cost.p50 * times, p99: cost.p99 * times });
  return { ...costs, create: slower(costs.create), wake: slower(costs.wake), save: slower(costs.save) };
}

function watched(options: Options) {
  const events: Watched[] = [];
  const crowded: string[] = [];
  const watch = (event: Watched) => {
    events.push(event);
    if (event.kind !== "began") return;
    const { host } = event;
    const wrong = host.taken > host.places || host.free < 0 || host.spares < 0 || host.asleepMib < -1e-6;
    if (wrong) crowded.push(`${host.id}: ${host.taken} of ${host.places}`);
  };
  return { result: simulate({ ...options, watch }), events, crowded };
}

const runs = { numRuns: 20 };

describe("a day", () => {
  it("loses no call: each ends or is refused once, after it came, or still waits or runs at the end", () =>
    fc.assert(
      fc.property(day, (options) => {
        const { events, result } = watched(options);
        const stages = new Map<number, string>();
        for (const { call, kind } of events) stages.set(call, `${stages.get(call) ?? ""} ${kind}`);
        const seen = new Set(stages.values());
        for (const possible of [" came", " came began", " came began ended", " came refused"])
          seen.delete(possible);
        expect([...seen]).toEqual([]);
        expect(stages.size).toBe(result.calls);
        const open = [...stages.values()].filter((list) => !/ended|refused/.test(list));
        expect(open.length).toBe(result.unfinished);
      }),
      runs,
    ));

  it("puts nothing into a place that is taken", () =>
    fc.assert(
      fc.property(day, (options) => {
        expect(watched(options).crowded).toEqual([]);
      }),
      runs,
    ));

  it("never goes back in time, and waits are none below zero", () =>
    fc.assert(
      fc.property(day, (options) => {
        const { events } = watched(options);
        const wrong = events.filter(
          (event, n) =>
            event.at < (events[n - 1]?.at ?? 0) ||
            event.at > DAY_ENDS ||
            (event.kind === "began" && event.waited <= 0),
        );
        expect(wrong).toEqual([]);
      }),
      runs,
    ));

  it("serves a session's calls one at a time, first come first", () =>
    fc.assert(
      fc.property(day, (options) => {
        const workload = { ...WORKDAY, ...options.workload, freshShare: 0 };
        const running = new Map<number, number>();
        const lines = new Map<number, number[]>();
        const wrong: Watched[] = [];
        for (const event of watched({ ...options, workload }).events) {
          const { call, kind, user } = event;
          const line = lines.get(user) ?? [];
          lines.set(user, line);
          if (kind === "came") line.push(call);
          else if (kind === "ended") {
            if (running.get(user) !== call) wrong.push(event);
            running.delete(user);
          } else {
            if (line.shift() !== call || running.has(user)) wrong.push(event);
            if (kind === "began") running.set(user, call);
          }
        }
        expect(wrong).toEqual([]);
      }),
      runs,
    ));

  it("is the same for the same seed, and another for another", () =>
    fc.assert(
      fc.property(day, (options) => {
        const first = simulate({ ...options, users: 60 });
        expect(simulate({ ...options, users: 60 })).toEqual(first);
        expect(simulate({ ...options, users: 60, seed: options.seed + 1 })).not.toEqual(first);
      }),
      { numRuns: 10 },
    ));

  it("asks the engine nothing where there is one host", () => {
    const alone = { users: 200, seed: 1, costs: COSTS, machine: { cpus: 2, memoryGib: 16 }, leastHosts: 1 };
    expect(simulate({ ...alone, mostHosts: 1 })).toMatchObject({
      commandsPerSecond: 0,
      hops: 0,
      resetsByMove: 0,
    });
    expect(simulate({ ...alone, leastHosts: 2, mostHosts: 2 }).commandsPerSecond).toBeGreaterThan(1);
  });

  it("needs more hosts for more users, and loses fewer variables with more disk", () => {
    const of = (users: number, disk: string) =>
      simulate({
        users,
        seed: 1,
        costs: COSTS,
        machine: { cpus: 2, memoryGib: 16 },
        leastHosts: 1,
        mostHosts: 64,
        environment: { KERNELYARD_SLEEP_DISK: disk },
      });
    const [few, many] = [of(300, "4g"), of(3_000, "4g")];
    expect(many.hostsMost).toBeGreaterThan(2 * few.hostsMost);
    expect(of(3_000, "100g").resetsByDisk).toBeLessThan(many.resetsByDisk / 10);
  });
});

describe("the clock", () => {
  it("lets happen what was said, in the order of time and of saying", () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 }), (times) => {
        const clock = new Clock(0);
        const happened: [number, number][] = [];
        times.forEach((time, n) => {
          clock.at(time, () => happened.push([clock.now, n]));
        });
        clock.run(100);
        const wanted = times.map((time, n): [number, number] => [time, n]);
        expect(happened).toEqual(wanted.sort(([a, n], [b, m]) => a - b || n - m));
      }),
    ));
});

describe("chance", () => {
  it("spreads as it is told", () => {
    const random = new Random(7);
    const values = Array.from({ length: 50_000 }, () => random.spread({ p50: 100, p99: 1_000 })).sort(
      (a, b) => a - b,
    );
    expect(values[25_000]).toBeGreaterThan(95);
    expect(values[25_000]).toBeLessThan(105);
    expect(values[49_500]).toBeGreaterThan(900);
    expect(values[49_500]).toBeLessThan(1_100);
    const lengths = Array.from({ length: 50_000 }, () => random.geometric(6));
    expect(lengths.reduce((sum, one) => sum + one, 0) / lengths.length).toBeCloseTo(6, 0);
    expect(Math.min(...lengths)).toBe(1);
  });
});
