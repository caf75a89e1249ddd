/** What a host believes of its sessions, and when it has to ask. */
import { describe, expect, it } from "vitest";
import {
  type Directory,
  DirectoryUnavailable,
  RecordLost,
} from "../../../gateway/server/fleet/directory/directory.ts";
import { Member } from "../../../gateway/server/fleet/member.ts";
import { fields, speaker } from "../../support/fleet/hosts.ts";
import { MemoryDirectory } from "../../support/fleet/memory-directory.ts";

const LEASE = { leaseMs: 12_000, marginMs: 3_000 };
const TIMES = { ...LEASE, holdMs: 10_000, recordMs: 3_600_000 };

function fleet() {
  // Long after the first beat of all: nothing is held back.
  const clock = { now: 1_700_000_000_000 };
  const engine = { directory: new MemoryDirectory(TIMES, () => clock.now) };
  const forget = () => {
    engine.directory = new MemoryDirectory(TIMES, () => clock.now);
  };
  const lost: string[] = [];
  const member = (host: string) => {
    const asks: string[] = [];
    // The engine behind it may be another one, or away.
    const away = { is: false };
    const directory = new Proxy({} as Directory, {
      get:
        (_, name: keyof Directory) =>
        (...args: unknown[]) => {
          asks.push(name);
          if (away.is) return Promise.reject(new DirectoryUnavailable("away"));
          const method: unknown = engine.directory[name];
          return typeof method === "function" ? method.apply(engine.directory, args) : method;
        },
    });
    const onLost = (digest: string) => void lost.push(`${host} ${digest}`);
    const options = { directory, speaker: speaker(host), times: LEASE, now: () => clock.now, onLost };
    return { asks, away, member: new Member({ ...options, fields: () => fields({ addr: `${host}:1` }) }) };
  };
  return { clock, forget, lost, member };
}

async function serving({ clock, member }: ReturnType<typeof fleet>, host: string) {
  const made = member(host);
  await made.member.beat();
  clock.now += TIMES.holdMs;
  await made.member.beat();
  await made.member.route("s", host);
  await made.member.settle("s", { state: "live" });
  return made;
}

describe("a member of the fleet", () => {
  it("knows what it holds without asking, while its lease is valid", async () => {
    const all = fleet();
    const { asks, member } = await serving(all, "a");
    const asked = asks.length;
    expect(member.holds("s")).toBe(member.epochOf("s"));
    expect(member.holds("t")).toBeNull();
    all.clock.now += 8_999;
    expect(member.holds("s")).not.toBeNull();
    all.clock.now += 1;
    expect(member.holds("s")).toBeNull();
    expect(asks).toHaveLength(asked);
  });

  it("does not hold what it claimed before its files are there", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    await member.route("t", "a");
    expect(member.holds("t")).toBeNull();
    await member.settle("t", { state: "live" });
    expect(member.holds("t")).not.toBeNull();
  });

  it.each(["idle", "moving"] as const)(
    "does not hold what is %s, from before the directory knows",
    async (state) => {
      const all = fleet();
      const { away, member } = await serving(all, "a");
      const settling = member.settle("s", { state });
      expect(member.holds("s")).toBeNull();
      await settling;
      expect(member.holds("s")).toBeNull();
      // Whether the directory heard of it is not known either when it does not answer.
      away.is = true;
      await expect(member.settle("s", { state: "moving" })).rejects.toThrow(DirectoryUnavailable);
      expect(member.holds("s")).toBeNull();
      away.is = false;
      await member.settle("s", { state: "live" });
      await member.confirm();
      expect(member.holds("s")).not.toBeNull();
    },
  );

  it("asks again after its lease has lapsed, and goes on when nobody came between", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    const epoch = member.holds("s");
    all.clock.now += 20_000;
    await member.beat();
    expect(member.valid).toBe(true);
    expect(member.holds("s")).toBeNull();
    await member.confirm();
    expect(member.holds("s")).toBe(epoch);
    expect(all.lost).toEqual([]);
  });

  it("hears that somebody else has its session now", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    const other = all.member("b");
    all.clock.now += 20_000;
    await other.member.beat();
    expect(await other.member.route("s", "b")).toMatchObject({ kind: "claimed", why: "host_lost" });
    await member.beat();
    await member.confirm();
    expect(all.lost).toEqual(["a s"]);
    expect(member.epochOf("s")).toBeNull();
  });

  it("says again what it holds when the engine has lost its data, and holds it on", async () => {
    const all = fleet();
    const { asks, member } = await serving(all, "a");
    const epoch = member.holds("s");
    all.forget();
    await member.beat();
    expect(asks).toContain("reclaim");
    expect(member.holds("s")).toBe(epoch);
    expect(await all.member("b").member.route("s", null)).toMatchObject({ kind: "own", home: "a", epoch });
  });

  it("says it again only while nobody else can have claimed it", async () => {
    const all = fleet();
    const { away, member, asks } = await serving(all, "a");
    all.forget();
    // The engine is there for the beat, and away for what follows.
    const beat = member.beat();
    away.is = true;
    await beat;
    expect(member.holds("s")).toBeNull();
    away.is = false;
    all.clock.now += 9_000;
    const said = asks.filter((name) => name === "reclaim").length;
    await member.beat();
    expect(asks.filter((name) => name === "reclaim")).toHaveLength(said);
    expect(member.holds("s")).toBeNull();
  });

  it("does not say again what it may have given away", async () => {
    const all = fleet();
    const { asks, away, member } = await serving(all, "a");
    away.is = true;
    await expect(member.settle("s", { state: "parked", ckpt: null })).rejects.toThrow(DirectoryUnavailable);
    away.is = false;
    all.forget();
    await member.beat();
    expect(asks).not.toContain("reclaim");
    expect(member.holds("s")).toBeNull();
  });

  it("is not brought back by an answer from before it left", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    const beat = member.beat();
    await member.leave();
    expect(await beat).toBe("unavailable");
    expect(member.valid).toBe(false);
  });

  it("does not say again what others may have had meanwhile", async () => {
    const all = fleet();
    const { asks, member } = await serving(all, "a");
    all.clock.now += 20_000;
    all.forget();
    await member.beat();
    expect(asks).not.toContain("reclaim");
    expect(member.holds("s")).toBeNull();
  });

  it("notices the loss of all data also when the answer to the first beat after it is lost", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    all.forget();
    // As a beat whose answer did not arrive: another object of the same speaker.
    await all.member("a").member.beat();
    await member.beat();
    expect(await all.member("b").member.route("s", null)).toMatchObject({ kind: "own", home: "a" });
  });

  it("stops at once when another machine has its id", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    all.clock.now += 20_000;
    const options = { times: LEASE, now: () => all.clock.now, fields: () => fields(), onLost: () => {} };
    const directory = new MemoryDirectory(TIMES, () => all.clock.now);
    const copy = new Member({ ...options, directory, speaker: speaker("a", { nonce: "of a copied disk" }) });
    const original = new Member({ ...options, directory, speaker: speaker("a") });
    await original.beat();
    expect(await copy.beat()).toBe("rival");
    expect(copy.valid).toBe(false);
    expect(original.valid).toBe(true);
    expect(member.valid).toBe(false);
  });

  it("keeps what an engine lost between two beats, and says it again with where its files are", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    await member.ckpt("s", { key: "ws/1", bytes: 1 });
    all.forget();
    await expect(member.ckpt("s", { key: "ws/2", bytes: 1 })).rejects.toThrow(RecordLost);
    await expect(member.settle("s", { state: "moving" })).rejects.toThrow(RecordLost);
    expect(all.lost).toEqual([]);
    expect(member.holds("s")).not.toBeNull();
    await member.beat();
    expect(await member.settle("s", { state: "parked", ckpt: null })).toBe(true);
    const other = all.member("b");
    await other.member.beat();
    expect(await other.member.route("s", "b")).toMatchObject({ kind: "claimed", ckpt: "ws/1" });
  });

  it("says again of a session whose files it does not have yet that it does not", async () => {
    const all = fleet();
    const { member } = await serving(all, "a");
    await member.ckpt("s", { key: "ws/1", bytes: 1 });
    await member.settle("s", { state: "parked", ckpt: null });
    const other = all.member("b");
    await other.member.beat();
    await other.member.route("s", "b");
    all.forget();
    await other.member.beat();
    expect(await other.member.route("s", "b")).toMatchObject({ kind: "claimed", ckpt: "ws/1" });
    expect(other.member.holds("s")).toBeNull();
  });
});
