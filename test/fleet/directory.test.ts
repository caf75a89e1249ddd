/** What the directory promises, of both that there are. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import {
  type Directory,
  DirectoryUnavailable,
  RecordLost,
} from "../../gateway/server/fleet/directory/directory.ts";
import { ValkeyDirectory, type ValkeyOptions } from "../../gateway/server/fleet/directory/valkey.ts";
import { fields, speaker } from "../support/fleet/hosts.ts";
import { RedisServer } from "../support/redis/redis-server.ts";
import { LONG, newName, type Open, openMemory, openValkey, PATIENT } from "./directories.ts";

let single: RedisServer;
let cluster: RedisServer;

beforeAll(async () => {
  [single, cluster] = await Promise.all([
    RedisServer.start(),
    RedisServer.start(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]),
  ]);
  const client = cluster.client();
  await client.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  while (!String(await client.call("CLUSTER", "INFO")).includes("cluster_state:ok")) await delay(20);
  client.disconnect();
});

afterAll(async () => {
  await Promise.all([single?.dispose(), cluster?.dispose()]);
});

const DIRECTORIES: readonly (readonly [string, Open])[] = [
  ["in memory", openMemory],
  ["in an engine", openValkey(() => single)],
  ["in an engine in cluster mode", openValkey(() => cluster, "?cluster=true")],
];

async function beaten(directory: Directory, ...hosts: readonly string[]) {
  for (const host of hosts) {
    const addr = `${host}:1`;
    expect(await directory.beat(speaker(host), fields({ addr }), newName())).toMatchObject({
      kind: "renewed",
    });
  }
}

async function claimed(directory: Directory, digest: string, candidate: string) {
  const routed = await directory.route(digest, candidate);
  if (routed.kind !== "claimed") throw new Error(`not claimed but ${routed.kind}`);
  return { ...routed, holding: { digest, host: candidate, epoch: routed.epoch } };
}

describe.each(DIRECTORIES)("a directory %s", (_, open) => {
  it("knows hosts by their last beat, as long as their lease is alive", async () => {
    const { directory, lapse } = await open();
    expect(await directory.hosts()).toEqual([]);
    await beaten(directory, "a", "b");
    await directory.beat(speaker("a"), fields({ state: "draining", free: 2 }), newName());
    const hosts = await directory.hosts();
    expect(hosts.map(({ id }) => id).sort()).toEqual(["a", "b"]);
    expect(hosts.find(({ id }) => id === "a")).toEqual({
      id: "a",
      ...fields({ state: "draining", free: 2 }),
    });
    await lapse(speaker("a"));
    expect((await directory.hosts()).map(({ id }) => id)).toEqual(["b"]);
    await directory.close();
  });

  it("a lease keeps its name from beat to beat, and has another when it had ended", async () => {
    const { directory, lapse } = await open();
    const first = await directory.beat(speaker("a"), fields(), "one");
    expect(first).toMatchObject({ kind: "renewed", joined: "one" });
    expect(await directory.beat(speaker("a"), fields(), "two")).toMatchObject({ joined: "one" });
    await lapse(speaker("a"));
    expect(await directory.beat(speaker("a"), fields(), "three")).toMatchObject({ joined: "three" });
    await directory.close();
  });

  it("another machine with the same id is a rival while the first one lives; a later process of the machine takes over", async () => {
    const { directory, lapse } = await open();
    await beaten(directory, "a");
    const copy = speaker("a", { nonce: "of a copied disk" });
    expect(await directory.beat(copy, fields(), newName())).toEqual({ kind: "rival", addr: "a:1" });
    const later = speaker("a", { since: 2 });
    expect(await directory.beat(later, fields(), newName())).toMatchObject({ kind: "renewed" });
    expect(await directory.beat(speaker("a"), fields(), newName())).toMatchObject({ kind: "rival" });
    // The one that it followed says goodbye late.
    await directory.leave(speaker("a"));
    expect(await directory.hosts()).toHaveLength(1);
    await lapse(later);
    expect(await directory.beat(copy, fields(), newName())).toMatchObject({ kind: "renewed" });
    await directory.close();
  });

  it("a session is the candidate's that is first, and everybody is told so", async () => {
    const { directory } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding, ...rest } = await claimed(directory, "s", "a");
    expect(rest).toMatchObject({ home: "a", addr: "a:1", cert: "c".repeat(64), ckpt: null, why: "unknown" });
    expect(await directory.route("s", "b")).toMatchObject({ kind: "own", home: "a", addr: "a:1", epoch });
    expect(await directory.route("s", null)).toMatchObject({ kind: "own", home: "a", epoch });
    // An answer that was lost is given again, until its files are there.
    expect(await directory.route("s", "a")).toMatchObject({ kind: "claimed", epoch });
    expect(await directory.settle(holding, { state: "live" })).toBe(true);
    expect(await directory.route("s", "a")).toMatchObject({ kind: "own", epoch });
    await directory.close();
  });

  it("nobody claims without a lease, for a host without one, for none, or for one that drains", async () => {
    const { directory, lapse } = await open();
    expect(await directory.route("s", "a")).toEqual({ kind: "fenced" });
    await beaten(directory, "a", "b");
    await lapse(speaker("a"));
    await directory.beat(speaker("b"), fields({ state: "draining" }), newName());
    expect(await directory.route("s", "a")).toEqual({ kind: "fenced" });
    expect(await directory.route("s", "b")).toEqual({ kind: "fenced" });
    expect(await directory.route("s", "unknown")).toEqual({ kind: "fenced" });
    expect(await directory.route("s", null)).toEqual({ kind: "fenced" });
    await directory.close();
  });

  it("a host that drains keeps what it has until it says otherwise", async () => {
    const { directory } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding } = await claimed(directory, "s", "a");
    await directory.settle(holding, { state: "idle" });
    await directory.beat(speaker("a"), fields({ state: "draining" }), newName());
    expect(await directory.route("s", "b")).toMatchObject({ kind: "own", home: "a", epoch });
    expect(await directory.settle(holding, { state: "moving" })).toBe(true);
    expect(await directory.route("s", "b")).toEqual({ kind: "wait", home: "a" });
    expect(await directory.route("s", "a")).toEqual({ kind: "wait", home: "a" });
    expect(await directory.settle(holding, { state: "parked", ckpt: { key: "ws/1", bytes: 7 } })).toBe(true);
    // Said again, its answer being lost.
    expect(await directory.settle(holding, { state: "parked", ckpt: { key: "ws/1", bytes: 7 } })).toBe(true);
    const moved = await claimed(directory, "s", "b");
    expect(moved).toMatchObject({ why: "moved", ckpt: "ws/1" });
    expect(moved.epoch).toBeGreaterThan(epoch);
    expect(await directory.settle(holding, { state: "parked", ckpt: null })).toBe(false);
    await directory.close();
  });

  it("the next claim of a lost host's session has a higher epoch, its checkpoint, and says why", async () => {
    const { directory, lapse } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding } = await claimed(directory, "s", "a");
    expect(await directory.ckpt(holding, { key: "ws/1", bytes: 1 })).toEqual({ kind: "set", former: null });
    expect(await directory.ckpt(holding, { key: "ws/2", bytes: 2 })).toEqual({ kind: "set", former: "ws/1" });
    expect(await directory.ckpt(holding, { key: "ws/2", bytes: 2 })).toEqual({ kind: "set", former: null });
    await lapse(speaker("a"));
    const taken = await claimed(directory, "s", "b");
    expect(taken).toMatchObject({ why: "host_lost", ckpt: "ws/2" });
    expect(taken.epoch).toBeGreaterThan(epoch);
    // What the first one says now counts no more.
    await beaten(directory, "a");
    expect(await directory.ckpt(holding, { key: "ws/3", bytes: 3 })).toEqual({ kind: "fenced" });
    for (const state of ["live", "idle", "moving", "forgotten"] as const) {
      expect(await directory.settle(holding, { state })).toBe(false);
    }
    expect(await directory.reclaim(holding, "live", null)).toBe(false);
    expect(await directory.route("s", "a")).toMatchObject({ kind: "own", home: "b", epoch: taken.epoch });
    await directory.close();
  });

  it("a host whose lease ended and that nobody followed has its sessions still", async () => {
    const { directory, lapse } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding } = await claimed(directory, "s", "a");
    await directory.settle(holding, { state: "live" });
    await lapse(speaker("a"));
    await beaten(directory, "a");
    expect(await directory.route("s", "b")).toMatchObject({ kind: "own", home: "a", epoch });
    await directory.close();
  });

  it("a forgotten session begins anew, without files and in a later epoch", async () => {
    const { directory } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding } = await claimed(directory, "s", "a");
    await directory.ckpt(holding, { key: "ws/1", bytes: 1 });
    expect(await directory.settle(holding, { state: "forgotten" })).toBe(true);
    const again = await claimed(directory, "s", "b");
    expect(again).toMatchObject({ why: null, ckpt: null });
    expect(again.epoch).toBeGreaterThan(epoch);
    await directory.close();
  });

  it("after the loss of all data owners come first, then everybody", async () => {
    const { directory, pass } = await open({ holdMs: 300 });
    const holding = { digest: "s", host: "a", epoch: 7 };
    expect(await directory.reclaim(holding, "live", null)).toBe(false);
    await beaten(directory, "a", "b");
    const held = await directory.route("s", "b");
    expect(held).toMatchObject({ kind: "hold" });
    expect(held.kind === "hold" && held.ms > 0 && held.ms <= 300).toBe(true);
    expect(await directory.reclaim(holding, "live", null)).toBe(true);
    expect(await directory.route("s", "b")).toMatchObject({ kind: "own", home: "a", epoch: 7 });
    expect(await directory.route("t", "b")).toMatchObject({ kind: "hold" });
    await pass(301);
    await claimed(directory, "t", "b");
    await directory.close();
  });

  it("an owner says again what it holds, and yields to a later epoch and to a living home", async () => {
    const { directory, lapse } = await open();
    await beaten(directory, "a", "b");
    const { epoch, holding } = await claimed(directory, "s", "a");
    expect(await directory.reclaim(holding, "live", null)).toBe(true);
    expect(await directory.reclaim({ ...holding, epoch: epoch - 1 }, "live", null)).toBe(false);
    expect(await directory.reclaim({ digest: "s", host: "b", epoch: epoch + 1 }, "live", null)).toBe(false);
    // A failover brought back an older record: its home is gone, the present owner is not.
    await lapse(speaker("a"));
    expect(await directory.reclaim({ digest: "s", host: "b", epoch: epoch - 1 }, "live", null)).toBe(false);
    expect(await directory.reclaim({ digest: "s", host: "b", epoch: epoch + 1 }, "live", null)).toBe(true);
    await beaten(directory, "a");
    expect(await directory.route("s", "a")).toMatchObject({ kind: "own", home: "b", epoch: epoch + 1 });
    await directory.close();
  });

  it("what the engine lost is nobody else's, and is said again with its checkpoint", async () => {
    const { directory } = await open();
    await beaten(directory, "a", "b");
    const holding = { digest: "s", host: "a", epoch: 7 };
    const ckpt = { key: "ws/2", bytes: 3 };
    await expect(directory.settle(holding, { state: "moving" })).rejects.toThrow(RecordLost);
    await expect(directory.ckpt(holding, ckpt)).rejects.toThrow(RecordLost);
    expect(await directory.reclaim(holding, "live", ckpt)).toBe(true);
    expect(await directory.settle(holding, { state: "parked", ckpt: null })).toBe(true);
    expect(await directory.route("s", "b")).toMatchObject({ kind: "claimed", ckpt: "ws/2" });
    // A failover brought back an older pointer.
    const again = await claimed(directory, "t", "a");
    await directory.ckpt(again.holding, { key: "ws/3", bytes: 1 });
    expect(await directory.reclaim(again.holding, "live", { key: "ws/4", bytes: 1 })).toBe(true);
    expect(await directory.ckpt(again.holding, { key: "ws/5", bytes: 1 })).toEqual({
      kind: "set",
      former: "ws/4",
    });
    await directory.close();
  });

  it("a record lasts from its last use on", async () => {
    const { directory, pass } = await open({ recordMs: 400 });
    await beaten(directory, "a");
    await claimed(directory, "used", "a");
    await claimed(directory, "unused", "a");
    await directory.touch([]);
    await pass(500);
    await directory.touch(["used"]);
    expect(await directory.route("unused", null)).toEqual({ kind: "fenced" });
    await claimed(directory, "again", "a");
    await directory.close();
  });

  it("notes once where a request is", async () => {
    const { directory } = await open();
    expect(await directory.note("request", "a")).toBeNull();
    expect(await directory.note("request", "b")).toBe("a");
    expect(await directory.note("other", "")).toBeNull();
    expect(await directory.note("other", "b")).toBe("");
    await directory.close();
  });

  it("who leaves has no lease", async () => {
    const { directory } = await open();
    await beaten(directory, "a", "b");
    await claimed(directory, "s", "a");
    await directory.leave(speaker("a", { nonce: "another" }));
    expect(await directory.hosts()).toHaveLength(2);
    await directory.leave(speaker("a"));
    await directory.leave(speaker("a"));
    expect((await directory.hosts()).map(({ id }) => id)).toEqual(["b"]);
    expect(await claimed(directory, "s", "b")).toMatchObject({ why: "host_lost" });
    await directory.close();
  });
});

describe("an engine", () => {
  const started = async (args: readonly string[] = []) => {
    const server = await RedisServer.start(args);
    onTestFinished(() => server.dispose());
    return server;
  };
  const open = (server: RedisServer, more: Partial<ValkeyOptions> = {}) =>
    new ValkeyDirectory({ url: server.url, fleet: "engine", times: LONG, ...PATIENT, ...more });

  it("that is not there is said at once, and used again when it is", async () => {
    const server = await started();
    let connections = 0;
    const onConnected = () => {
      connections += 1;
    };
    const directory = open(server, { onConnected });
    await directory.connect();
    await directory.beat(speaker("a"), fields(), newName());
    await server.end();
    await expect(directory.route("s", "a")).rejects.toThrow(DirectoryUnavailable);
    await expect(directory.touch(["s"])).rejects.toThrow(DirectoryUnavailable);
    await server.begin();
    await expect.poll(() => connections).toBe(2);
    expect(await directory.route("s", "a")).toEqual({ kind: "fenced" });
    await directory.close();
  });

  it("that does not answer is waited for a quarter of a second", async () => {
    const server = await started();
    // Connected by the patient one: where the first answer is late, there is none.
    const directory = open(server, { commandMs: 250 });
    await expect.poll(() => directory.connect().then(() => "connected", String)).toBe("connected");
    server.signal("SIGSTOP");
    await expect(directory.hosts()).rejects.toThrow(/timed out/i);
    server.signal("SIGCONT");
    await directory.close();
  });

  it("that drops keys when it is full is refused, one that does not is not", async () => {
    const server = await started(["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    const evicting = open(server);
    const good = open(single);
    await Promise.all([evicting.connect(), good.connect()]);
    expect(await evicting.problem()).toContain("set maxmemory-policy noeviction");
    expect(await good.problem()).toBeNull();
    await Promise.all([evicting.close(), good.close()]);
  });

  it("whose replica does not keep up gives no lease and no session", async () => {
    const server = await started();
    const replica = await started(["--replicaof", "127.0.0.1", String(server.port)]);
    const client = server.client();
    await expect.poll(() => client.info("replication")).toMatch(/slave0:.*state=online/);
    const directory = open(server);
    await directory.connect();
    expect(await directory.beat(speaker("a"), fields(), newName())).toMatchObject({ kind: "renewed" });
    expect(await directory.route("s", "a")).toMatchObject({ kind: "claimed" });
    replica.signal("SIGSTOP");
    await expect(directory.beat(speaker("a"), fields(), newName())).rejects.toThrow(DirectoryUnavailable);
    await expect(directory.route("t", "a")).rejects.toThrow(DirectoryUnavailable);
    replica.signal("SIGCONT");
    await expect.poll(() => client.wait(1, 200)).toBe(1);
    const beat = () => directory.beat(speaker("a"), fields(), newName()).then(({ kind }) => kind, String);
    await expect.poll(beat).toBe("renewed");
    client.disconnect();
    await directory.close();
  });
});
