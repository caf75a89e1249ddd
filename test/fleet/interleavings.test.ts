/**
 * Hosts that do anything in any order, on a real engine: many fleets at the same time, each with leases of some hundredths of a
 * second, answers that get lost, and an engine that loses its data. What the hosts believe by themselves is looked at after every step.
 * `KERNELYARD_TEST_SEED` repeats a run's steps (never its timing).
 */
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Directory, DirectoryUnavailable } from "../../gateway/server/fleet/directory/directory.ts";
import { ValkeyDirectory } from "../../gateway/server/fleet/directory/valkey.ts";
import { Member } from "../../gateway/server/fleet/member.ts";
import { fields, speaker } from "../support/fleet/hosts.ts";
import { RedisServer } from "../support/redis/redis-server.ts";

/** In the proportions of the real ones: an owner serves without a beat for less long than a claim is held back. */
const TIMES = { leaseMs: 90, marginMs: 20, holdMs: 75, recordMs: 3_600_000 };
const HOSTS = ["a", "b", "c", "d"] as const;
const SESSIONS = ["s", "t", "u"] as const;
const FLEETS = 16;
const STEPS = 800;
/** Every other fleet does so many things at the same time; the others one after another, so that more can be said of them. */
const LANES = 3;

const host = fc.constantFrom(...HOSTS);
const session = fc.constantFrom(...SESSIONS);
/** `refused`: it did not arrive. `lost`: it was done, and nobody heard. */
const fate = fc.oneof(
  { weight: 12, arbitrary: fc.constant("answered" as const) },
  { weight: 1, arbitrary: fc.constantFrom("refused" as const, "lost" as const) },
);
const step = fc.oneof(
  { weight: 36, arbitrary: fc.record({ kind: fc.constant("beat" as const), host, fate }) },
  { weight: 24, arbitrary: fc.record({ kind: fc.constant("route" as const), host, session, fate }) },
  {
    weight: 12,
    arbitrary: fc.record({ kind: fc.constant("routeFor" as const), host, other: host, session, fate }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant("settle" as const),
      host,
      session,
      state: fc.constantFrom("live", "live", "live", "idle", "moving", "parked", "forgotten"),
      fate,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("ckpt" as const), host, session, fate }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("confirm" as const), host, fate }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("drain" as const), host, on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), host }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), host, fate }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("flush" as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 60 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 60, max: 130 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
type Fate = typeof fate extends fc.Arbitrary<infer F> ? F : never;

/** The real directory, whose next answer has the fate that the step says. */
class Fated implements Directory {
  next: Fate = "answered";
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  async #told<T>(ask: () => Promise<T>): Promise<T> {
    const fate = this.next;
    if (fate === "refused") throw new DirectoryUnavailable("refused by the test");
    const answer = await ask();
    if (fate === "lost") throw new DirectoryUnavailable("lost by the test");
    return answer;
  }

  beat: Directory["beat"] = (...asked) => this.#told(() => this.#directory.beat(...asked));
  hosts: Directory["hosts"] = () => this.#told(() => this.#directory.hosts());
  route: Directory["route"] = (...asked) => this.#told(() => this.#directory.route(...asked));
  settle: Directory["settle"] = (...asked) => this.#told(() => this.#directory.settle(...asked));
  ckpt: Directory["ckpt"] = (...asked) => this.#told(() => this.#directory.ckpt(...asked));
  reclaim: Directory["reclaim"] = (...asked) => this.#told(() => this.#directory.reclaim(...asked));
  touch: Directory["touch"] = (...asked) => this.#told(() => this.#directory.touch(...asked));
  note: Directory["note"] = (...asked) => this.#told(() => this.#directory.note(...asked));
  leave: Directory["leave"] = (...asked) => this.#told(() => this.#directory.leave(...asked));
  close: Directory["close"] = () => this.#directory.close();
}

interface SimulatedHost {
  directory: Fated;
  member: Member;
  draining: boolean;
}

/** How often what is to be shown took place, so that a run which shows nothing is noticed. */
const COUNTED = { steps: 0, claims: 0, takeovers: 0, served: 0, fenced: 0 };

class Fleet {
  readonly #name: string;
  readonly #lanes: number;
  readonly #engine: Redis;
  readonly #directory: ValkeyDirectory;
  readonly #hosts = new Map<string, SimulatedHost>();
  /** The highest epoch that was ever claimed, and whose it is. */
  readonly #latest = new Map<string, { epoch: number; home: string }>();
  #since = 0;
  #checkpoints = 0;

  constructor(name: string, lanes: number, url: string, engine: Redis) {
    this.#name = name;
    this.#lanes = lanes;
    this.#engine = engine;
    this.#directory = new ValkeyDirectory({ url, fleet: name, times: TIMES });
    for (const id of HOSTS) this.#start(id);
  }

  connect = () => this.#directory.connect();
  close = () => this.#directory.close();

  #start(id: string): void {
    const directory = new Fated(this.#directory);
    this.#since += 1;
    const simulated: SimulatedHost = {
      directory,
      draining: false,
      member: new Member({
        directory,
        speaker: speaker(id, { since: this.#since }),
        times: TIMES,
        now: () => performance.now(),
        fields: () => fields({ state: simulated.draining ? "draining" : "up", addr: `${id}:1` }),
        onLost: () => {
          COUNTED.fenced += 1;
        },
      }),
    };
    this.#hosts.set(id, simulated);
  }

  async run(steps: readonly Step[]): Promise<void> {
    const waiting = steps.entries();
    const lane = async () => {
      for (const [index, one] of waiting) {
        try {
          await this.#step(one);
          this.#look();
        } catch (error) {
          const where = `fleet ${this.#name}, step ${index} ${JSON.stringify(one)}`;
          throw new Error(`${where}: ${String(error)}`, { cause: error });
        }
        COUNTED.steps += 1;
      }
    };
    await Promise.all(Array.from({ length: this.#lanes }, lane));
  }

  #host(id: string): SimulatedHost {
    const host = this.#hosts.get(id);
    if (host === undefined) throw new Error(`no host ${id}`);
    return host;
  }

  async #step(one: Step): Promise<void> {
    switch (one.kind) {
      case "pass":
        return delay(one.ms);
      case "drain":
        this.#host(one.host).draining = one.on;
        return;
      case "restart":
        return this.#start(one.host);
      case "flush": {
        const keys = ["hosts", "born", ...SESSIONS.map((digest) => `s:${digest}`)];
        await this.#engine.del(...keys.map((key) => `{ky:${this.#name}}:${key}`));
        return;
      }
      default: {
        const host = this.#host(one.host);
        host.directory.next = one.fate;
        try {
          await this.#ask(one, host.member);
        } catch (error) {
          if (!(error instanceof DirectoryUnavailable)) throw error;
        } finally {
          host.directory.next = "answered";
        }
      }
    }
  }

  async #ask(one: Extract<Step, { fate: Fate }>, member: Member): Promise<void> {
    switch (one.kind) {
      case "beat":
        await member.beat();
        return;
      case "confirm":
        return member.confirm();
      case "leave":
        return member.leave();
      case "route":
        return this.#route(member, one.session, one.host);
      case "routeFor":
        return this.#route(member, one.session, one.other);
      case "settle": {
        const { state } = one;
        const mine = member.epochOf(one.session);
        const old = this.#isOld(one.session, mine);
        const done = await member.settle(one.session, state === "parked" ? { state, ckpt: null } : { state });
        if (done && old) throw new Error(`an old epoch settled: ${mine}`);
        return;
      }
      case "ckpt": {
        this.#checkpoints += 1;
        const mine = member.epochOf(one.session);
        const old = this.#isOld(one.session, mine);
        const pointed = await member.ckpt(one.session, { key: `ws/${this.#checkpoints}`, bytes: 1 });
        if (pointed.kind === "set" && old) {
          throw new Error(`an old epoch set the checkpoint: ${mine}`);
        }
        return;
      }
    }
  }

  async #route(member: Member, digest: string, candidate: string): Promise<void> {
    const routed = await member.route(digest, candidate).finally(async () => {
      // Whatever was heard of it: what was done is in the engine.
      const [epoch, home] = await this.#engine.hmget(`{ky:${this.#name}}:s:${digest}`, "epoch", "home");
      if (epoch != null && home != null) this.#claimed(digest, Number(epoch), home);
    });
    if (routed.kind === "claimed" && routed.home !== candidate) throw new Error("claimed for another one");
  }

  #isOld(digest: string, epoch: number | null): boolean {
    return epoch !== null && epoch < (this.#latest.get(digest)?.epoch ?? 0);
  }

  #claimed(digest: string, epoch: number, home: string): void {
    const latest = this.#latest.get(digest);
    if (latest?.epoch === epoch && latest.home === home) return;
    if (latest !== undefined && epoch <= latest.epoch) {
      // Of things that happen at the same time the older may be heard of later.
      if (this.#lanes > 1 && epoch < latest.epoch) return;
      throw new Error(`epoch ${epoch} of ${home} after ${latest.epoch} of ${latest.home}`);
    }
    COUNTED.claims += 1;
    if (latest !== undefined && latest.home !== home) COUNTED.takeovers += 1;
    for (const [id, { member }] of this.#hosts) {
      const held = member.holds(digest);
      if (id !== home && held !== null && held < epoch)
        throw new Error(`${home} claimed ${digest}, which ${id} has`);
    }
    this.#latest.set(digest, { epoch, home });
  }

  /** Whoever believes at this moment that it may run code of a session does so alone, and in the latest epoch. */
  #look(): void {
    for (const digest of SESSIONS) {
      const owners = [...this.#hosts].flatMap(([id, { member }]) => {
        const epoch = member.holds(digest);
        return epoch === null ? [] : [{ id, epoch }];
      });
      if (owners.length > 1) throw new Error(`${digest} has owners ${JSON.stringify(owners)}`);
      const [owner] = owners;
      if (owner === undefined) continue;
      COUNTED.served += 1;
      const latest = this.#latest.get(digest);
      if (owner.epoch !== latest?.epoch && this.#lanes === 1) {
        throw new Error(
          `${owner.id} has ${digest} in ${owner.epoch}, the latest is ${JSON.stringify(latest)}`,
        );
      }
    }
  }
}

describe("hosts in any order", () => {
  let server: RedisServer;
  let engine: Redis;
  let runs = 0;

  beforeAll(async () => {
    server = await RedisServer.start();
    engine = server.client();
  });

  afterAll(async () => {
    engine?.disconnect();
    await server?.dispose();
  });

  it(`${FLEETS * STEPS} steps: never two owners, epochs grow, nothing is claimed while a lease lives`, async () => {
    const steps = fc.array(step, { minLength: STEPS, maxLength: STEPS, size: "max" });
    const fleets = fc.array(steps, { minLength: FLEETS, maxLength: FLEETS });
    const given = process.env.KERNELYARD_TEST_SEED;
    const outcome = await fc.check(
      fc.asyncProperty(fleets, async (plans) => {
        runs += 1;
        const running = plans.map(
          (_, index) => new Fleet(`run-${runs}-${index}`, index % 2 === 0 ? 1 : LANES, server.url, engine),
        );
        try {
          await Promise.all(running.map((fleet) => fleet.connect()));
          await Promise.all(running.map((fleet, index) => fleet.run(plans[index] ?? [])));
        } finally {
          await Promise.all(running.map((fleet) => fleet.close()));
        }
      }),
      // Steps that failed in their own time do not fail again in another one: nothing is made smaller.
      { numRuns: 1, endOnFailure: true, verbose: 0, ...(given === undefined ? {} : { seed: Number(given) }) },
    );
    // The steps of a run are thousands of lines; its seed makes them again.
    if (outcome.failed) throw new Error(`seed ${outcome.seed}: ${String(outcome.errorInstance)}`);
    process.stdout.write(`interleavings: ${JSON.stringify(COUNTED)}\n`);
    expect(COUNTED.steps).toBeGreaterThanOrEqual(10_000);
    expect(COUNTED.takeovers).toBeGreaterThan(100);
    expect(COUNTED.served).toBeGreaterThan(1_000);
    expect(COUNTED.fenced).toBeGreaterThan(10);
  });
});
