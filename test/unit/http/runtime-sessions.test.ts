/** Sessions in the hands of their owners, in front of a launcher stand-in. */
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  ECHO,
  type LauncherStandIn,
  type SandboxStandIn,
  type Script,
} from "../sessions/launcher-stand-in.ts";
import { KEY, OTHER_KEY, startBehindStandIn, startGateway, until } from "./gateway-under-test.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  const started = await startBehindStandIn();
  ({ launcher, gateway } = started);
  return started.end;
});

const run = (code: string, session = "s1", key = KEY) =>
  gateway.post("/run", { session_id: session, code }, { "x-api-key": key });

const ask = (method: string, path: string, key = KEY, at = gateway) =>
  at.app.request(`/v1/runtime-sessions${path}`, { method, headers: { "x-api-key": key } });

const Listed = z.object({ sessions: z.array(z.looseObject({ id: z.string() })) });
async function ids(key = KEY, at = gateway): Promise<string[]> {
  const { sessions } = Listed.parse(await (await ask("GET", "", key, at)).json());
  return sessions.map(({ id }) => id);
}

/** Runs until it is interrupted. */
const STUBBORN: Script = (message, _body, sandbox) => {
  if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
  else if (message.msg_type === "interrupt_request" && sandbox.executing !== null) {
    sandbox.reply(sandbox.executing, { exit_code: null, signal: "SIGINT", reason: "interrupted" });
  } else throw new Error(`unexpected ${message.msg_type}`);
};

async function running(): Promise<SandboxStandIn> {
  await until(() => launcher.live.some(({ executing }) => executing !== null));
  const [sandbox] = launcher.live;
  if (sandbox === undefined) throw new Error("no sandbox");
  return sandbox;
}

describe("GET /runtime-sessions", () => {
  it("lists the caller's own, last used first", async () => {
    await run("1", "s1");
    const reply = await gateway.post("/exec", { lang: "py", code: "1", runtime_session_hint: "h" });
    const { runtime_session_id } = z
      .looseObject({ runtime_session_id: z.string() })
      .parse(await reply.json());
    await run("1", "other", OTHER_KEY);
    expect(await ids()).toEqual([runtime_session_id, "s1"]);
    expect(await ids(OTHER_KEY)).toEqual(["other"]);
    expect((await ask("GET", "", "wrong-key-0123456789")).status).toBe(401);
  });

  it("shows what a session does", async () => {
    await run("1");
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({
      id: "s1",
      state: "idle",
      has_variables: true,
      waiting: 0,
      running_seconds: null,
    });
    launcher.script = STUBBORN;
    const calls = [run("2"), run("3")];
    await running();
    await until(() => gateway.kernels.registry.waiting === 1);
    const body = await (await ask("GET", "/s1")).json();
    expect(body).toMatchObject({ state: "busy", waiting: 1, running_seconds: expect.any(Number) });
    await ask("POST", "/s1/interrupt");
    await calls[0];
    await running();
    await ask("POST", "/s1/interrupt");
    await calls[1];
  });

  it("knows its owner again after a restart of the gateway", async () => {
    await gateway.post("/exec", { lang: "py", code: "1", runtime_session_hint: "h" });
    const before = await ids();
    expect(before).toHaveLength(1);
    gateway.kernels.stop();
    const next = startGateway(launcher.socketPath);
    await next.kernels.start();
    expect(await ids(KEY, next)).toEqual(before);
    expect(await ids(OTHER_KEY, next)).toEqual([]);
    next.stop();
  });
});

describe("somebody else's session", () => {
  it.each([
    ["GET", ""],
    ["POST", "/interrupt"],
    ["POST", "/restart"],
    ["DELETE", ""],
  ])("is not there: %s %s", async (method, action) => {
    const reply = await gateway.post("/exec", { lang: "py", code: "1", runtime_session_hint: "h" });
    const { runtime_session_id: id } = z
      .looseObject({ runtime_session_id: z.string() })
      .parse(await reply.json());
    await run("1", "s1");
    for (const one of [id, "s1"]) {
      const answer = await ask(method, `/${one}${action}`, OTHER_KEY);
      expect(answer.status).toBe(404);
    }
    expect(launcher.live).toHaveLength(2);
    // The control: for its owner it is.
    expect((await ask(method, `/${id}${action}`)).status).toBeLessThan(300);
  });
});

describe("interrupt", () => {
  it("ends the running call as interrupted and keeps the kernel", async () => {
    launcher.script = STUBBORN;
    const call = run("1");
    const sandbox = await running();
    expect(await (await ask("POST", "/s1/interrupt")).json()).toEqual({ interrupted: true });
    expect(await (await call).json()).toMatchObject({ exit_code: 130, stderr: "\n[sandbox] Interrupted\n" });
    launcher.script = ECHO;
    expect(await (await run("2")).json()).toMatchObject({ stdout: "2", stderr: "" });
    expect(launcher.live).toEqual([sandbox]);
  });

  it("says when nothing ran", async () => {
    await run("1");
    expect(await (await ask("POST", "/s1/interrupt")).json()).toEqual({ interrupted: false });
  });
});

describe("restart", () => {
  it("ends an idle kernel; the next call is told, the files stay", async () => {
    await run("1");
    expect(await (await ask("POST", "/s1/restart")).json()).toEqual({ restarted: true });
    expect(launcher.live.map(({ cells }) => cells)).toEqual([0]);
    expect(launcher.volumes.size).toBe(1);
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "idle", has_variables: false });
    const next = z
      .object({ stderr: z.string() })
      .loose()
      .parse(await (await run("2")).json());
    expect(next.stderr).toContain("because its owner asked for it: variables are lost, files are kept");
  });

  it("ends the sandbox of one that does not answer; the next call is told", async () => {
    await run("1");
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "shutdown_request") sandbox.print("nobody", "something else");
    };
    expect(await (await ask("POST", "/s1/restart")).json()).toEqual({ restarted: true });
    expect(launcher.live).toEqual([]);
    launcher.script = ECHO;
    const next = z.looseObject({ stderr: z.string() }).parse(await (await run("2")).json());
    expect(next.stderr).toContain("variables are lost, files are kept");
  });

  it("ends one that runs a call, which is told the truth", async () => {
    launcher.script = STUBBORN;
    const call = run("1");
    await running();
    expect(await (await ask("POST", "/s1/restart")).json()).toEqual({ restarted: true });
    const body = z
      .object({ stderr: z.string() })
      .loose()
      .parse(await (await call).json());
    expect(body).toMatchObject({ exit_code: 137 });
    expect(body.stderr).toContain("Sandbox was terminated");
    launcher.script = ECHO;
    expect(await (await run("2")).json()).toMatchObject({ stdout: "2", stderr: "" });
  });
});

describe("a session asleep", () => {
  beforeEach(async () => {
    launcher.sleeping = "on";
    await run("1");
    const key = { kind: "named", tenant: "default", name: "s1" } as const;
    expect(await gateway.kernels.registry.find(key)?.sleep()).toBe(true);
  });

  it("is shown, until a call wakes it", async () => {
    const state = async () => (await ask("GET", "/s1")).json();
    expect(await state()).toMatchObject({ state: "asleep", has_variables: true });
    await run("2");
    expect(await state()).toMatchObject({ state: "idle", has_variables: true });
  });

  it("is its owner's after a restart of the gateway as before, and nobody else's", async () => {
    const reply = await gateway.post("/exec", { lang: "py", code: "1", runtime_session_hint: "h" });
    const { runtime_session_id: digest } = z
      .looseObject({ runtime_session_id: z.string() })
      .parse(await reply.json());
    expect(await gateway.kernels.registry.find({ kind: "runtime", digest })?.sleep()).toBe(true);
    gateway.kernels.stop();
    launcher.asleepMs = 60_000;
    const next = startGateway(launcher.socketPath);
    await next.kernels.start();
    expect((await ids(KEY, next)).sort()).toEqual([digest, "s1"].sort());
    // A fleet is told that they are here.
    expect(next.kernels.travelling.keys()).toHaveLength(2);
    expect(await ids(OTHER_KEY, next)).toEqual([]);
    for (const id of [digest, "s1"]) {
      const shown = await (await ask("GET", `/${id}`, KEY, next)).json();
      expect(shown).toMatchObject({ state: "asleep", has_variables: true });
      expect(z.looseObject({ unused_seconds: z.number() }).parse(shown).unused_seconds).toBeGreaterThan(59);
      for (const [method, action] of [
        ["GET", ""],
        ["POST", "/restart"],
        ["DELETE", ""],
      ] as const) {
        expect((await ask(method, `/${id}${action}`, OTHER_KEY, next)).status).toBe(404);
      }
    }
    expect(await (await ask("POST", `/${digest}/restart`, KEY, next)).json()).toEqual({ restarted: true });
    expect((await ask("DELETE", "/s1", KEY, next)).status).toBe(204);
    expect(await ids(KEY, next)).toHaveLength(2);
    expect(launcher.asleep).toEqual([]);
    next.stop();
  });

  it("is shown without a kernel when what was saved of it had to go", async () => {
    launcher.sandboxes.clear();
    gateway.kernels.registry.foundAsleep([], performance.now());
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "none", has_variables: false });
  });

  it("is not mistaken for lost, or for asleep, by an answer from before its last call", async () => {
    const askedAt = performance.now();
    const key = { kind: "named", tenant: "default", name: "s1" } as const;
    const stale = [{ session: key, owner: null, asleep_ms: 0 }];
    await run("2");
    const session = gateway.kernels.registry.find(key);
    await session?.end("idle");
    gateway.kernels.registry.foundAsleep(stale, askedAt);
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "none" });
    await run("3");
    expect(await session?.sleep()).toBe(true);
    gateway.kernels.registry.foundAsleep([], askedAt);
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "asleep" });
  });

  it("is restarted: its variables are gone, the next call is told", async () => {
    expect(await (await ask("POST", "/s1/restart")).json()).toEqual({ restarted: true });
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "none", has_variables: false });
    expect(await (await ask("POST", "/s1/restart")).json()).toEqual({ restarted: false });
    expect(launcher.volumes.size).toBe(1);
    expect(await (await run("2")).json()).toMatchObject({
      stderr: expect.stringContaining("because its owner asked for it: variables are lost, files are kept"),
    });
  });

  it("is forgotten with its variables: the next call begins anew and misses nothing", async () => {
    expect((await ask("DELETE", "/s1")).status).toBe(204);
    expect(launcher.volumes.size).toBe(0);
    expect((await ask("GET", "/s1")).status).toBe(200);
    expect(await (await ask("GET", "/s1")).json()).toMatchObject({ state: "none", has_variables: false });
    await run("2");
    const [sandbox] = launcher.live;
    expect(sandbox?.origin).toBe("cold");
  });

  it("says that the launcher is away", async () => {
    await launcher.stop();
    expect((await ask("POST", "/s1/restart")).status).toBe(503);
    expect((await ask("DELETE", "/s1")).status).toBe(503);
  });
});

describe("forget", () => {
  it("ends the kernel and removes the files; the next call begins anew and misses nothing", async () => {
    await run("1");
    expect((await ask("DELETE", "/s1")).status).toBe(204);
    expect(launcher.live).toEqual([]);
    expect(launcher.volumes.size).toBe(0);
    expect((await ask("DELETE", "/s1")).status).toBe(404);
    expect(await (await run("2")).json()).toMatchObject({ stdout: "2", stderr: "" });
  });

  it("finds by its name one that only has files", async () => {
    launcher.volumes.add(JSON.stringify({ kind: "named", tenant: "default", name: "old" }));
    expect((await ask("DELETE", "/old", OTHER_KEY)).status).toBe(404);
    expect(launcher.volumes.size).toBe(1);
    expect((await ask("DELETE", "/old")).status).toBe(204);
    expect(launcher.volumes.size).toBe(0);
  });

  it("ends what runs, and serves first who waited", async () => {
    launcher.script = STUBBORN;
    const first = run("1");
    await running();
    const second = run("2");
    await until(() => gateway.kernels.registry.waiting === 1);
    launcher.script = ECHO;
    expect((await ask("DELETE", "/s1")).status).toBe(204);
    expect((await first).status).toBe(200);
    expect(await (await second).json()).toMatchObject({ stdout: "2" });
    expect(launcher.live).toEqual([]);
    expect(launcher.volumes.size).toBe(0);
  });

  it("ends a sandbox that this gateway has lost sight of", async () => {
    const session = { kind: "named", tenant: "default", name: "lost" } as const;
    launcher.add({ kind: "session", profile: "default", session });
    expect((await ask("DELETE", "/lost")).status).toBe(204);
    expect(launcher.live).toEqual([]);
    expect(launcher.volumes.size).toBe(0);
  });

  it("says that the engine is away, and forgets nothing", async () => {
    await run("1");
    launcher.keepsSandboxes = true;
    expect((await ask("DELETE", "/s1")).status).toBe(503);
    expect(launcher.volumes.size).toBe(1);
    launcher.keepsSandboxes = false;
  });
});
