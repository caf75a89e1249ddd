import { duplexPair } from "node:stream";
import { describe, expect, test, vi } from "vitest";
import { Relay } from "../../../gateway/launcher/relay/relay.ts";
import { type Phase, SandboxState } from "../../../gateway/launcher/sandbox/state.ts";

const NOW = Date.UTC(2026, 0, 2);
const END = { reason: "exited", exit_code: 1 } as const;

function aRelay(): Relay {
  const nothing = () => {};
  const hooks = {
    firstUse: nothing,
    firstExecute: nothing,
    attachedChanged: nothing,
    broken: nothing,
    ended: nothing,
    diagnostics: nothing,
  };
  return new Relay(duplexPair()[0], hooks);
}

function starting(): SandboxState {
  const identity = {
    id: "abcdefghijklmnopqrstu",
    kind: "fresh",
    profile: "default",
    session: null,
    owner: null,
    image: "sha256:1",
    createdAt: NOW,
    checkpointKey: null,
  } as const;
  const sandbox = new SandboxState(identity, false, NOW);
  sandbox.bind("c1");
  sandbox.attach(aRelay());
  return sandbox;
}

function running(): SandboxState {
  const sandbox = starting();
  sandbox.run(NOW);
  return sandbox;
}

function lost(): SandboxState {
  const sandbox = running();
  if (sandbox.serving !== null) sandbox.noteStreamEnd(sandbox.serving);
  sandbox.lose();
  return sandbox;
}

function saving(): SandboxState {
  const sandbox = running();
  sandbox.beginSave();
  return sandbox;
}

function ending(): SandboxState {
  const sandbox = running();
  sandbox.beginEnd({ reason: "killed" });
  return sandbox;
}

function ended(): SandboxState {
  const sandbox = running();
  sandbox.finish(END);
  return sandbox;
}

const makers: Record<Phase, () => SandboxState> = { starting, running, lost, saving, ending, ended };

test.each(Object.entries(makers))("a sandbox can be %s", (phase, make) => {
  expect(make().phase).toBe(phase);
  expect(make().serving === null).toBe(phase !== "running");
});

describe("a transition leads where it should from everywhere, or is refused", () => {
  const transitions: Record<string, [(sandbox: SandboxState) => unknown, Record<Phase, Phase>]> = {
    run: [
      (s) => s.run(NOW),
      {
        starting: "running",
        running: "running",
        lost: "running",
        saving: "saving",
        ending: "ending",
        ended: "ended",
      },
    ],
    lose: [
      (s) => s.lose(),
      {
        starting: "starting",
        running: "running",
        lost: "lost",
        saving: "saving",
        ending: "ending",
        ended: "ended",
      },
    ],
    "lose, its stream having ended": [
      (s) => {
        const relay = aRelay();
        s.attach(relay);
        s.noteStreamEnd(relay);
        s.lose();
      },
      {
        starting: "starting",
        running: "lost",
        lost: "lost",
        saving: "saving",
        ending: "ending",
        ended: "ended",
      },
    ],
    "begin to be saved": [
      (s) => s.beginSave(),
      {
        starting: "starting",
        running: "saving",
        lost: "lost",
        saving: "saving",
        ending: "ending",
        ended: "ended",
      },
    ],
    "not be saved": [
      (s) => s.saveFailed(),
      {
        starting: "starting",
        running: "running",
        lost: "lost",
        saving: "running",
        ending: "ending",
        ended: "ended",
      },
    ],
    "begin its end": [
      (s) => s.beginEnd({ reason: "killed" }),
      {
        starting: "ending",
        running: "ending",
        lost: "ending",
        saving: "ending",
        ending: "ending",
        ended: "ended",
      },
    ],
    "fail to end": [
      (s) => {
        s.beginEnd({ reason: "killed" });
        s.endFailed();
      },
      {
        starting: "lost",
        running: "running",
        lost: "lost",
        saving: "running",
        ending: "running",
        ended: "ended",
      },
    ],
    finish: [
      (s) => s.finish({ reason: "killed", exit_code: null }),
      {
        starting: "ended",
        running: "ended",
        lost: "ended",
        saving: "ended",
        ending: "ended",
        ended: "ended",
      },
    ],
  };

  const cases = Object.entries(transitions).flatMap(([what, [transition, leads]]) =>
    Object.entries(makers).map(([from, make]) => ({ what, from, make, transition, leads })),
  );

  test.each(cases)("$from: $what", ({ from, make, transition, leads }) => {
    const sandbox = make();
    transition(sandbox);
    expect([from, sandbox.phase]).toEqual([from, new Map(Object.entries(leads)).get(from)]);
  });
});

test("two that end it at once and fail leave it as it was before the first", () => {
  const sandbox = running();
  sandbox.beginEnd({ reason: "killed" });
  sandbox.beginEnd({ reason: "expired" });
  sandbox.endFailed();
  sandbox.endFailed();
  expect([sandbox.phase, sandbox.cause]).toEqual(["running", { reason: "killed" }]);
});

test("what was ended while it started does not run", () => {
  const sandbox = starting();
  sandbox.blame({ reason: "protocol_error", detail: "a length that lies" });
  expect([sandbox.run(NOW), sandbox.phase]).toEqual([false, "starting"]);
});

test("the first word about an end stays", () => {
  const sandbox = ended();
  expect(sandbox.finish({ reason: "killed", exit_code: null })).toBe(false);
  expect(sandbox.ended).toEqual(END);
});

describe("what is known of its death", () => {
  const dies = (sandbox: SandboxState) => sandbox.noteDeath(137);
  const stops = (sandbox: SandboxState) => {
    const relay = aRelay();
    sandbox.attach(relay);
    sandbox.noteStreamEnd(relay);
  };

  test.each([
    ["nothing", [], "unknown"],
    ["the engine's word", [dies], "likely"],
    ["the stream's end", [stops], "likely"],
    ["both", [stops, dies], "certain"],
  ] as const)("%s while it runs", (_what, seen, death) => {
    const sandbox = running();
    for (const see of seen) see(sandbox);
    expect(sandbox.death).toBe(death);
  });

  test.each(["starting", "ended"] as const)("is nobody's business while it is %s", (phase) => {
    const sandbox = makers[phase]();
    stops(sandbox);
    dies(sandbox);
    expect(sandbox.death).toBe("unknown");
  });

  test("is not told by the end of an older stream", () => {
    const sandbox = running();
    const older = sandbox.serving ?? aRelay();
    sandbox.attach(aRelay());
    expect([sandbox.noteStreamEnd(older), sandbox.death]).toEqual([false, "unknown"]);
  });

  test("keeps the engine's first word: a container is destroyed after it died", () => {
    const sandbox = running();
    sandbox.noteDeath(137);
    sandbox.noteDeath(null);
    expect(sandbox.died).toEqual({ exitCode: 137 });
  });
});

describe("its timers", () => {
  test("call once, and settling once at a time", () => {
    vi.useFakeTimers();
    try {
      const sandbox = running();
      const overdue = vi.fn();
      const settle = vi.fn();
      sandbox.lifted({ lift: () => {}, restore: () => {} }, 30_000, overdue);
      sandbox.settleAfter(1_000, settle);
      sandbox.settleAfter(1_000, settle);
      vi.advanceTimersByTime(60_000);
      expect([overdue.mock.calls.length, settle.mock.calls.length]).toEqual([1, 1]);
      sandbox.settleAfter(1_000, settle);
      vi.advanceTimersByTime(60_000);
      expect(settle).toHaveBeenCalledTimes(2);
    } finally {
      vi.useRealTimers();
    }
  });

  test("end with it, and the share is put back by one alone", () => {
    vi.useFakeTimers();
    try {
      const sandbox = running();
      const never = vi.fn();
      const cpu = { lift: () => {}, restore: () => {} };
      sandbox.lifted(cpu, 30_000, never);
      expect([sandbox.takeLifted(), sandbox.takeLifted()]).toEqual([cpu, null]);
      sandbox.lifted(cpu, 30_000, never);
      sandbox.settleAfter(1_000, never);
      sandbox.finish(END);
      vi.advanceTimersByTime(60_000);
      expect(never).not.toHaveBeenCalled();
    } finally {
      vi.useRealTimers();
    }
  });
});
