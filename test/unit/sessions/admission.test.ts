import { describe, expect, it } from "vitest";
import type { CreateSandbox, Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { LauncherRefusal } from "../../../gateway/common/protocol/launcher-client.ts";
import { Admission, HostFull } from "../../../gateway/server/sessions/admission.ts";

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
            ended: null,
          }),
        ),
      );
    },
  };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("Admission", () => {
  it("makes no more sandboxes at once than it may", async () => {
    const launcher = host(10);
    const admission = new Admission({ launcher, concurrency: 2, waitMs: 0 });
    const all = [1, 2, 3].map(() => admission.create(SESSION, never));
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

  it("lets unused pool sandboxes give way", async () => {
    const launcher = host(0);
    const admission = new Admission({ launcher, concurrency: 2, waitMs: 0 });
    let quiet = true;
    admission.onFull(async () => {
      // A spare made now would take the room again.
      quiet = admission.quiet;
      launcher.room += 1;
      return true;
    });
    const made = admission.create(SESSION, never);
    await settled();
    expect(quiet).toBe(false);
    launcher.pending.shift()?.();
    expect((await made).sandboxId).toBe("sandbox-0000000000001");
    expect(admission.quiet).toBe(true);
  });

  it("refuses at once when nothing is about to end", async () => {
    const admission = new Admission({ launcher: host(0), concurrency: 2, waitMs: 60_000 });
    await expect(admission.create(SESSION, never)).rejects.toThrow(HostFull);
    await expect(admission.createSpare(SESSION, never)).rejects.toThrow(HostFull);
  });

  it("waits for a place that serves one call, and then takes it", async () => {
    const launcher = host(0);
    const admission = new Admission({ launcher, concurrency: 2, waitMs: 60_000 });
    const passing = admission.held("from-the-pool");
    passing.serve();
    passing.serve();
    const made = admission.create(SESSION, never);
    await settled();
    launcher.room = 1;
    passing.leave();
    await settled();
    launcher.pending.shift()?.();
    await made;
    // Left once, however often it is said.
    passing.leave();
    await expect(admission.create(SESSION, never)).rejects.toThrow(HostFull);
  });

  it("waits for no place that stays: a session's, or a spare one's", async () => {
    const launcher = host(2);
    const admission = new Admission({ launcher, concurrency: 2, waitMs: 60_000 });
    const places = [admission.create(SESSION, never), admission.createSpare(FRESH, never)];
    await settled();
    for (const finish of launcher.pending.splice(0)) finish();
    await Promise.all(places);
    await expect(admission.create(FRESH, never)).rejects.toThrow(HostFull);
  });

  it("asks who gives way one after another, until one does", async () => {
    const launcher = host(0);
    const admission = new Admission({ launcher, concurrency: 2, waitMs: 0 });
    const asked: string[] = [];
    for (const [name, gives] of [
      ["pool", false],
      ["sessions", true],
      ["never", true],
    ] as const) {
      admission.onFull(async () => {
        asked.push(name);
        if (gives) launcher.room += 1;
        return gives;
      });
    }
    const made = admission.create(SESSION, never);
    await settled();
    launcher.pending.shift()?.();
    await made;
    expect(asked).toEqual(["pool", "sessions"]);
  });

  it("stops waiting in time, and when the caller hangs up", async () => {
    const admission = new Admission({ launcher: host(0), concurrency: 2, waitMs: 20 });
    admission.held("busy").serve();
    await expect(admission.create(SESSION, never)).rejects.toThrow(HostFull);
    const hangUp = new AbortController();
    const made = admission.create(SESSION, hangUp.signal);
    hangUp.abort(new Error("gone"));
    await expect(made).rejects.toThrow("gone");
  });
});
