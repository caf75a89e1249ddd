/**
 * What can happen to several hosts, one after the other, while LibreChat's clients go on: no conversation ever sees another one's variables or
 * files, no code runs twice, no file that was handed out is lost, and whoever loses variables is told.
 */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { drainHost } from "../../support/fleet/hosts-here.ts";
import { RedisServer } from "../../support/redis/redis-server.ts";
import { Wire } from "../../support/wire.ts";
import { Hosts } from "./fleet/hosts.ts";
import { Load } from "./fleet/load.ts";

const PLACES = LONG_FORM ? 3 : 2;
const CONVERSATIONS = LONG_FORM ? 30 : 3;
const AT_ONCE = LONG_FORM ? 4 : 2;
/** Longer than a lease, and than an owner that hears nothing serves. */
const BEYOND_LEASE_MS = 20_000;
/** Less than that: nobody is refused. */
const WITHIN_LEASE_MS = 5_000;
/** A replica that is silent for 5 s is taken for lost, and is looked for again after 10 s at most. */
const REPLICA_NOTICED_MS = 12_000;
const WITHIN_MS = 900_000;

let hosts: Hosts;
let load: Load;
beforeAll(async () => {
  hosts = await Hosts.prepare(PLACES, {
    checkpoints: LONG_FORM ? "ready" : "off",
    env: { KERNELYARD_POOL_SIZE: "0", KERNELYARD_RATE_LIMITS: "off" },
  });
  await Promise.all(Array.from({ length: PLACES }, (_, place) => hosts.start(place)));
  load = new Load(hosts, hosts.at(0).stack.apiKey, CONVERSATIONS, seeded(31));
  await load.everybody();
  load.begin(AT_ONCE);
}, 600_000);
afterAll(async () => {
  await load?.end();
  await hosts?.stop();
}, 180_000);

/** `fault` ends when everybody can be served again. */
async function underLoad(what: string, fault: () => Promise<void>): Promise<void> {
  load.forgetWaits();
  const began = performance.now();
  await fault();
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const faultMs = performance.now() - began;
  const served = await load.everybody();
  process.stdout.write(
    `${what}: ${seconds(faultMs)}; a call took ${seconds(load.longest.ms)} at most (${load.longest.what}); then everybody was served within ${seconds(served)}\n`,
  );
  expect(load.problems).toEqual([]);
}

async function restart(place: number): Promise<void> {
  const { stack } = hosts.at(place);
  await stack.startLauncher();
  await stack.startGateway();
}

async function kill(place: number): Promise<void> {
  const { stack } = hosts.at(place);
  await Promise.all([stack.gateway.signal("SIGKILL"), stack.launcher.signal("SIGKILL")]);
}

it("kill -9 of a host's processes, and its return", { timeout: WITHIN_MS }, async () => {
  await underLoad("a host dies", () => kill(1));
  await underLoad("it comes back", () => restart(1));
});

it("the engine loses its data", { timeout: WITHIN_MS }, async () => {
  await underLoad("FLUSHALL", async () => {
    const client = hosts.engine.client();
    await client.flushall();
    client.disconnect();
  });
});

if (LONG_FORM)
  it("a gateway stands still for longer than its lease", { timeout: WITHIN_MS }, async () => {
    await underLoad("SIGSTOP", async () => {
      const pid = hosts.at(0).stack.gatewayPid;
      process.kill(pid, "SIGSTOP");
      await delay(BEYOND_LEASE_MS);
      process.kill(pid, "SIGCONT");
    });
  });

if (LONG_FORM)
  it("the engine is cut off from one host, and from all", { timeout: WITHIN_MS }, async () => {
    const ways = () => [...hosts.running.values()].map(({ engine }) => engine);
    const cutFor = async (wires: readonly Wire[], ms: number) => {
      for (const wire of wires) wire.cut();
      await delay(ms);
      for (const wire of wires) wire.mend();
    };
    await underLoad("one host without engine", () => cutFor([hosts.at(2).engine], BEYOND_LEASE_MS));
    await underLoad("no engine for less than a lease", () => cutFor(ways(), WITHIN_LEASE_MS));
    await underLoad("no engine", () => cutFor(ways(), BEYOND_LEASE_MS));
  });

if (LONG_FORM)
  it("a replica that lags takes the engine's place", { timeout: WITHIN_MS }, async () => {
    const link = await Wire.to(hosts.engine.port);
    const replica = await RedisServer.start(["--replicaof", "127.0.0.1", String(link.port)]);
    await underLoad("a replica comes", () => delay(REPLICA_NOTICED_MS));
    await underLoad("it lags, and a host dies", async () => {
      link.cut();
      await delay(REPLICA_NOTICED_MS);
      await kill(1);
      await load.everybody();
    });
    await underLoad("it takes the engine's place", async () => {
      const client = replica.client();
      await client.call("REPLICAOF", "NO", "ONE");
      client.disconnect();
      await hosts.replaceEngine(replica);
      await link.close();
    });
    await underLoad("the host comes back", () => restart(1));
  });

if (LONG_FORM)
  it("the bucket is away at a drain; one host, three, and one again", { timeout: WITHIN_MS }, async () => {
    await underLoad("three hosts, two, the bucket away for a while", async () => {
      const { stack, store } = hosts.at(2);
      store.cut();
      const drained = drainHost(stack);
      await delay(WITHIN_LEASE_MS);
      store.mend();
      await drained;
      await hosts.leave(2);
    });
    await underLoad("one host", async () => {
      await drainHost(hosts.at(1).stack);
      await hosts.leave(1);
    });
    await underLoad("three hosts", async () => {
      await Promise.all([hosts.start(1), hosts.start(2)]);
    });
    await underLoad("one host, another one", async () => {
      for (const place of [0, 1]) {
        await drainHost(hosts.at(place).stack);
        await hosts.leave(place);
      }
    });
  });

it("all that was handed out is there, and nothing twice", { timeout: WITHIN_MS }, async () => {
  await load.end();
  const files = await load.filesAreThere();
  process.stdout.write(`${load.report()}\n${files} files read again\n`);
  expect(load.problems).toEqual([]);
});
