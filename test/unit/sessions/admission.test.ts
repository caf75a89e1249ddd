import { describe, expect, it, vi } from "vitest";
import type { CreateSandbox, Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { LauncherRefusal } from "../../../gateway/common/protocol/launcher-client.ts";
import {
  Admission,
  CallerFull,
  type From,
  HostFull,
  type RoomMaker,
} from "../../../gateway/server/sessions/admission.ts";

const never = new AbortController().signal;
const SESSION: CreateSandbox = {
  kind: "session",
  profile: "default",
  session: { kind: "named", tenant: "default", name: "s" },
};

const FRESH: CreateSandbox = { kind: "fresh", profile: "default" };

/** A launcher with room for some sandboxes; creations end when the test says so. */
function host(room: number) {
  let made = 0;
  const pending: (() => void)[] = [];
  return {
    room,
    pending,
    create(spec: CreateSandbox): Promise<Sandbox> {
      if (made >= this.room) {
        return Promise.reject(new LauncherRefusal({ error: "host_full", message: "full" }));
      }
      made += 1;
      return new Promise((resolve) =>
        pending.push(() =>
          resolve({
            id: `sandbox-${String(made).padStart(13, "0")}`,
            container_id: "c",
            kind: spec.kind,
            profile: spec.profile,
            session: null,
            image: "i",
            created_at: new Date().toISOString(),
            used: false,
            attached: false,
            origin: "cold",
            lost: null,
            ended: null,
          }),
        ),
      );
    },
  };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

const admissionTo = (launcher: ReturnType<typeof host>, waitMs = 60_000, concurrency = 2) =>
  new Admission({ launcher, concurrency, waitMs });

const alice = { key: "alice", shared: false };
const bob = { key: "bob", shared: false };
const key = { key: "key", shared: true };

/** As a call does: its turn, then a place, which it uses. */
async function call(admission: Admission, caller: typeof alice | null = null, signal = never) {
  const turn = await admission.turn(caller, signal);
  try {
    const { place } = await admission.create(SESSION, turn, signal);
    place.use(turn);
    return place;
  } catch (error) {
    turn.end();
    throw error;
  }
}

/** Gives way to who waits, and to nobody before. */
const giver = (
  giveWay: RoomMaker["giveWay"],
  giveWayAhead: RoomMaker["giveWayAhead"] = async () => "none",
) => ({
  giveWay,
  giveWayAhead,
});

let runs = 0;

/** A call that runs in a sandbox that is there. */
async function running(admission: Admission, caller: typeof alice | null = null) {
  const place = admission.held(`running-${runs++}`);
  place.use(await admission.turn(caller, never));
  return place;
}

describe("places", () => {
  it("are made first for whoever has fewest, among equals for who came first", async () => {
    const launcher = host(100);
    const admission = admissionTo(launcher, 60_000, 1);
    const made: string[] = [];
    const callOf = (who: string, caller: typeof alice) => call(admission, caller).then(() => made.push(who));
    const all = [...Array.from({ length: 4 }, (_, n) => callOf(`alice ${n}`, alice)), callOf("bob", bob)];
    for (let n = 0; n < all.length; n += 1) {
      await settled();
      expect(launcher.pending).toHaveLength(1);
      launcher.pending.shift()?.();
    }
    await Promise.all(all);
    expect(made).toEqual(["alice 0", "bob", "alice 1", "alice 2", "alice 3"]);
  });

  it("are made no more at once than may be", async () => {
    const launcher = host(10);
    const admission = admissionTo(launcher);
    const all = [1, 2, 3].map(() => call(admission));
    await settled();
    expect(launcher.pending).toHaveLength(2);
    expect(admission.quiet).toBe(false);
    launcher.pending.shift()?.();
    await settled();
    expect(launcher.pending).toHaveLength(2);
    for (const finish of launcher.pending.splice(0)) finish();
    await Promise.all(all);
    expect(admission.quiet).toBe(true);
  });

  it("are given up by who gives way, and by nobody for a spare sandbox", async () => {
    const launcher = host(0);
    const admission = admissionTo(launcher);
    let quiet = true;
    admission.onFull(
      giver(async () => {
        // A spare made now would take the room again.
        quiet = admission.quiet;
        launcher.room += 1;
        return "gone";
      }),
    );
    await expect(admission.createSpare(FRESH, never)).rejects.toThrow(HostFull);
    const made = call(admission);
    await settled();
    expect(quiet).toBe(false);
    launcher.pending.shift()?.();
    expect((await made).sandboxId).toBe("sandbox-0000000000001");
    expect(admission.quiet).toBe(true);
  });

  it("are refused at once when nothing is about to end", async () => {
    await expect(call(admissionTo(host(0)))).rejects.toThrow(HostFull);
  });

  it("are waited for while a call runs, and taken when it ends", async () => {
    const launcher = host(0);
    const admission = admissionTo(launcher);
    const passing = await running(admission);
    const made = call(admission);
    await settled();
    launcher.room = 1;
    passing.leave();
    await settled();
    launcher.pending.shift()?.();
    await made;
    // Left once, however often it is said.
    passing.leave();
    await expect(admission.createSpare(FRESH, never)).rejects.toThrow(HostFull);
  });

  it("are waited for until the call in them ends, and the session gives way", async () => {
    const launcher = host(0);
    const admission = admissionTo(launcher);
    const place = await running(admission);
    let idle = false;
    admission.onFull(
      giver(async () => {
        if (idle) launcher.room = 1;
        return idle ? "gone" : "none";
      }),
    );
    const made = call(admission);
    await settled();
    idle = true;
    place.rest();
    await settled();
    launcher.pending.shift()?.();
    await made;
  });

  it("are waited for no longer than allowed, nor when the caller hangs up", async () => {
    const admission = admissionTo(host(0), 20);
    await running(admission);
    await expect(call(admission)).rejects.toThrow(HostFull);
    const hangUp = new AbortController();
    const made = call(admission, alice, hangUp.signal);
    hangUp.abort(new Error("gone"));
    await expect(made).rejects.toThrow("gone");
  });

  it("are asked for one after another, until somebody gives way", async () => {
    const launcher = host(0);
    const admission = admissionTo(launcher);
    const asked: string[] = [];
    for (const [name, gives] of [
      ["pool", "none"],
      ["sessions", "gone"],
      ["never", "gone"],
    ] as const) {
      admission.onFull(
        giver(async () => {
          asked.push(name);
          if (gives === "gone") launcher.room += 1;
          return gives;
        }),
      );
    }
    const made = call(admission);
    await settled();
    launcher.pending.shift()?.();
    await made;
    expect(asked).toEqual(["pool", "sessions"]);
  });
});

describe("a sandbox", () => {
  it("has one place, whoever asks for it, until it is left", () => {
    const admission = admissionTo(host(0));
    const place = admission.held("stray");
    expect(admission.held("stray")).toBe(place);
    place.leave();
    expect(admission.sandboxIds.size).toBe(0);
    expect(admission.held("stray")).not.toBe(place);
  });

  it("that ended by itself leaves its place, and whoever waits for one takes it", async () => {
    const launcher = host(100);
    const admission = admissionTo(launcher);
    admission.capacity = 2;
    admission.held("pool");
    const busy = await running(admission);
    const made = call(admission, alice);
    await settled();
    expect(launcher.pending).toHaveLength(0);
    admission.leaveAll(new Set(["pool", "another"]));
    expect([...admission.sandboxIds]).toEqual([busy.sandboxId]);
    await settled();
    launcher.pending.shift()?.();
    await made;
  });
});

describe("one caller", () => {
  const endless = () => {
    const launcher = host(100);
    const admission = admissionTo(launcher, 60_000, 100);
    admission.capacity = 11;
    return { launcher, admission };
  };
  const finishAll = async ({ launcher }: ReturnType<typeof endless>) => {
    await settled();
    for (const finish of launcher.pending.splice(0)) finish();
    await settled();
  };

  it("runs calls in half of the places, a key in nine tenths, and others find room at once", async () => {
    const its = endless();
    const { admission, launcher } = its;
    const done: string[] = [];
    const calls = Array.from({ length: 200 }, () =>
      call(admission, alice).then((p) => void done.push(p.sandboxId)),
    );
    void Promise.allSettled(calls);
    await finishAll(its);
    expect(done).toHaveLength(5);
    const other = call(admission, bob);
    await finishAll(its);
    await other;
    expect(launcher.pending).toHaveLength(0);
    const keys = endless();
    const running: unknown[] = [];
    for (let n = 0; n < 20; n++)
      void call(keys.admission, key).then(
        (place) => running.push(place),
        () => {},
      );
    await finishAll(keys);
    expect(running).toHaveLength(9);
  });

  it("goes on when one of their calls ends, and is told when none does in time", async () => {
    const admission = admissionTo(host(100), 20);
    admission.capacity = 2;
    const first = await running(admission, alice);
    await expect(call(admission, alice)).rejects.toThrow(CallerFull);
    const next = admission.turn(alice, never);
    first.rest();
    await next;
  });

  it("who has more than their share gives way first, beginning with the one who asks", async () => {
    const launcher = host(0);
    const admission = admissionTo(launcher);
    admission.capacity = 11;
    for (let n = 0; n < 5; n++) (await running(admission, alice)).rest();
    for (let n = 0; n < 5; n++) (await running(admission, bob)).rest();
    const asked: unknown[] = [];
    admission.onFull(
      giver(async (from: From) => {
        asked.push([alice, bob, key, null].filter((holder) => from(holder)).map((holder) => holder?.key));
        return "none";
      }),
    );
    await expect(call(admission, alice)).rejects.toThrow(HostFull);
    await expect(call(admission, key)).rejects.toThrow(HostFull);
    const everybody = ["alice", "bob", "key", undefined];
    expect(asked).toEqual([["alice"], ["alice", "bob"], everybody, ["alice", "bob"], everybody]);
  });
});

describe("a host's last place", () => {
  /** With room for three, and a session that takes its time to fall asleep. */
  const nearlyFull = async () => {
    const launcher = host(3);
    const admission = admissionTo(launcher);
    admission.capacity = 3;
    const asked: string[] = [];
    const asleep = Promise.withResolvers<void>();
    const sleeping = admission.held("sleeps");
    admission.onFull(
      giver(
        async () => {
          asked.push("now");
          return "none";
        },
        async () => {
          asked.push("ahead");
          await asleep.promise;
          sleeping.leave();
          return "gone";
        },
      ),
    );
    const begin = async (spec: CreateSandbox = SESSION, begins = true) => {
      const turn = await admission.turn(alice, never);
      const made = admission.create(spec, turn, never, begins).finally(turn.end);
      await vi.waitFor(() => expect(launcher.pending).toHaveLength(1), { interval: 1 });
      const askedBefore = [...asked];
      launcher.pending.shift()?.();
      await made;
      return askedBefore;
    };
    await begin();
    expect(asked).toEqual([]);
    return { asked, asleep, begin };
  };

  it("makes room ahead when a conversation begins in it, and the next one waits for that alone", async () => {
    const { asked, asleep, begin } = await nearlyFull();
    // While its own sandbox is made.
    expect(await begin()).toEqual(["ahead"]);
    const next = begin(SESSION, false);
    await settled();
    expect(asked).toEqual(["ahead"]);
    asleep.resolve();
    await next;
    expect(asked).toEqual(["ahead"]);
  });

  it.each([
    ["one that had a sandbox before", SESSION],
    ["a call without a session", FRESH],
  ])("stays the last one for %s: no more come for that", async (_, spec) => {
    const { asked, begin } = await nearlyFull();
    await begin(spec, false);
    expect(asked).toEqual([]);
  });
});

describe("the service itself", () => {
  it("has a place that no caller and no spare sandbox takes", async () => {
    const launcher = host(100);
    const admission = admissionTo(launcher, 60_000, 100);
    admission.capacity = 4;
    for (let n = 0; n < 3; n++) admission.held(`session-${n}`);
    await expect(call(admission, key)).rejects.toThrow(HostFull);
    await expect(admission.createSpare(FRESH, never)).rejects.toThrow(HostFull);
    const own = call(admission, null);
    await settled();
    launcher.pending.shift()?.();
    await own;
  });
});
