import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SessionKey } from "../../../gateway/common/protocol/launcher-api.ts";
import type { EngineContainer } from "../../../gateway/launcher/engine/engine.ts";
import { decodeSession, encodeSession, newId, volumeName } from "../../../gateway/launcher/engine/labels.ts";
import { type KnownSandbox, type Observation, plan } from "../../../gateway/launcher/reconcile/plan.ts";

const NOW = Date.UTC(2026, 0, 2);
const HOUR = 3_600_000;
const ID = "abcdefghijklmnopqrstu";

const nothing: Observation = {
  now: NOW,
  limits: {
    idleMs: HOUR,
    sleepAfterMs: null,
    usedFreshMs: 10_000,
    maxAgeMs: 24 * HOUR,
    volumeTtlMs: 720 * HOUR,
  },
  sandboxes: [],
  containers: [],
  volumes: new Map(),
  volumesInUse: new Set(),
  strayDevices: [],
  failedDisks: new Set(),
  reserved: new Set(),
};

function container(labels: Record<string, string> = {}, state = "running"): EngineContainer {
  return {
    id: "c1",
    state,
    imageId: "sha256:1",
    labels: {
      "kernelyard.kind": "session",
      "kernelyard.sandbox": ID,
      "kernelyard.session": "named:default:s1",
      "kernelyard.profile": "default",
      "kernelyard.created": new Date(NOW - HOUR).toISOString(),
      ...labels,
    },
  };
}

function known(change: Partial<KnownSandbox> = {}): KnownSandbox {
  return {
    id: ID,
    containerId: "c1",
    phase: "running",
    kind: "session",
    used: true,
    detachedSince: null,
    createdAt: NOW - HOUR,
    condemned: false,
    ...change,
  };
}

const steps = (seen: Partial<Observation>) => plan({ ...nothing, ...seen });

describe("the plan", () => {
  test("is empty when all agree", () => {
    expect(steps({ containers: [container()], sandboxes: [known()] })).toEqual([]);
  });

  test("ends a sandbox whose volume takes no further write, whatever else is to be said of it", () => {
    const seen = { containers: [container()], failedDisks: new Set([ID]) };
    const ends = [{ step: "end-without-disk", sandboxId: ID }];
    for (const change of [{}, { phase: "lost" as const }, { condemned: true }]) {
      expect(steps({ ...seen, sandboxes: [known(change)] })).toEqual(ends);
    }
    expect(steps({ ...seen, sandboxes: [known({ phase: "ending" })] })).toEqual([]);
  });

  test("adopts a running container that says all about itself", () => {
    expect(steps({ containers: [container()] })).toMatchObject([
      {
        step: "adopt",
        sandbox: { sandboxId: ID, session: { kind: "named", tenant: "default", name: "s1" } },
      },
    ]);
  });

  test.each<[string, EngineContainer]>([
    ["that is not running", container({}, "created")],
    ["older than a day", container({ "kernelyard.created": new Date(NOW - 25 * HOUR).toISOString() })],
    ["of a dead probe", container({ "kernelyard.kind": "probe" })],
    ["without a session's name", container({ "kernelyard.session": "" })],
    ["with a session that is none", container({ "kernelyard.session": "named:default:../x" })],
    ["without an id", container({ "kernelyard.sandbox": "short" })],
    ["without a time", container({ "kernelyard.created": "yesterday" })],
  ])("removes a container %s", (_what, given) => {
    expect(steps({ containers: [given] })).toMatchObject([{ step: "remove-container", containerId: "c1" }]);
  });

  test("leaves a probe in progress alone", () => {
    const probe = container({ "kernelyard.kind": "probe" }, "created");
    expect(steps({ containers: [probe], reserved: new Set([ID]) })).toEqual([]);
  });

  test.each<KnownSandbox["phase"]>(["starting", "ending"])("leaves a sandbox that is %s alone", (phase) => {
    const sandbox = known({ phase, createdAt: 0, detachedSince: 0, containerId: null });
    expect(steps({ sandboxes: [sandbox], containers: [container({}, "created")] })).toEqual([]);
  });

  test("forgets a sandbox whose container is gone, and takes back one whose stream was lost", () => {
    expect(steps({ sandboxes: [known()] })).toEqual([{ step: "forget", sandboxId: ID }]);
    const lost = known({ phase: "lost" });
    expect(steps({ sandboxes: [lost], containers: [container()] })).toEqual([
      { step: "readopt", sandboxId: ID },
    ]);
  });

  test.each<[string, Partial<KnownSandbox>, boolean]>([
    ["attached", { createdAt: NOW - HOUR }, false],
    ["attached for more than a day", { createdAt: NOW - 25 * HOUR }, true],
    ["detached for a while", { detachedSince: NOW - HOUR / 2 }, false],
    ["detached for longer than the idle time", { detachedSince: NOW - HOUR - 1 }, true],
    ["fresh, used and detached", { kind: "fresh", detachedSince: NOW - 10_001 }, true],
    ["fresh, unused and detached", { kind: "fresh", used: false, detachedSince: NOW - 10_001 }, false],
    ["attached, whose end the engine did not carry out", { condemned: true }, true],
    ["lost for longer than the idle time", { phase: "lost", detachedSince: NOW - HOUR - 1 }, true],
  ])("a sandbox %s", (_what, change, expires) => {
    const planned = steps({ sandboxes: [known(change)], containers: [container()] });
    expect(planned.some((step) => step.step === "expire")).toBe(expires);
  });

  test("removes a volume past its time, unless it is in use", () => {
    const volumes = new Map([
      ["old", NOW - 721 * HOUR],
      ["used", NOW - 721 * HOUR],
      ["young", NOW - HOUR],
    ]);
    expect(steps({ volumes, volumesInUse: new Set(["used"]) })).toEqual([
      { step: "remove-volume", volume: "old", unusedSince: NOW - 720 * HOUR },
    ]);
  });

  test("releases devices that nobody told the kernel to free", () => {
    expect(steps({ strayDevices: ["/dev/loop7"] })).toEqual([{ step: "release-device", path: "/dev/loop7" }]);
  });
});

const sessions: fc.Arbitrary<SessionKey> = fc.oneof(
  fc.record({
    kind: fc.constant("named" as const),
    tenant: fc.oneof(fc.constant("default"), fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/)),
    name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/),
  }),
  fc.record({ kind: fc.constant("runtime" as const), digest: fc.stringMatching(/^[A-Za-z0-9-]{21}$/) }),
);

describe("names", () => {
  test("of sessions are read back from a label", () => {
    fc.assert(
      fc.property(sessions, (session) => {
        expect(decodeSession(encodeSession(session))).toEqual(session);
      }),
    );
  });

  test("of volumes are as different as their sessions, and what Docker accepts", () => {
    fc.assert(
      fc.property(sessions, sessions, (a, b) => {
        expect(volumeName(a) === volumeName(b)).toBe(encodeSession(a) === encodeSession(b));
        expect(volumeName(a)).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,250}$/);
      }),
    );
  });

  test("of volumes are the specification's", () => {
    expect(volumeName({ kind: "named", tenant: "default", name: "s1" })).toBe("librechat_vol_s1");
    expect(volumeName({ kind: "named", tenant: "acme", name: "s1" })).toBe("librechat_vol_-acme.s1");
  });

  test("of sandboxes have 21 characters", () => {
    expect(newId()).toMatch(/^[A-Za-z0-9_-]{21}$/);
  });
});
