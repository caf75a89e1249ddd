/** Registry, pool and recovery together, in front of a launcher stand-in. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import { namedSessionKey, runtimeSessionKey } from "../../../gateway/server/sessions/session-key.ts";
import { KEY, OTHER_KEY, startGateway, until } from "../http/gateway-under-test.ts";
import { ECHO, LauncherStandIn, type SandboxStandIn, type Script } from "./launcher-stand-in.ts";

let launcher: LauncherStandIn;
let gateways: ReturnType<typeof startGateway>[];

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  gateways = [];
});

afterEach(async () => {
  for (const gateway of gateways) gateway.stop();
  await launcher.dispose();
});

function start(env: Record<string, string> = {}) {
  const gateway = startGateway(launcher.socketPath, env);
  gateways.push(gateway);
  return gateway;
}

type Gateway = ReturnType<typeof startGateway>;

const exec = async (gateway: Gateway, code: string, more: Record<string, unknown> = {}) => {
  const response = await gateway.post("/exec", { lang: "py", code, ...more });
  expect(response.status).toBe(200);
  return response.json();
};

const inSession = { runtime_session_hint: "v2:conversation:1" };

describe("which kernel serves a call", () => {
  it("is the same for one caller and hint, and another for any other", async () => {
    const gateway = start();
    expect(await exec(gateway, "1", inSession)).toMatchObject({ runtime_status: "new" });
    expect(await exec(gateway, "2", inSession)).toMatchObject({ runtime_status: "reused" });
    expect(await exec(gateway, "3", { runtime_session_hint: "other" })).toMatchObject({
      runtime_status: "new",
    });
    expect(launcher.created).toBe(2);
  });

  it("is never shared without a hint", async () => {
    const gateway = start();
    await exec(gateway, "1");
    await exec(gateway, "2");
    expect(launcher.created).toBe(2);
    await until(() => launcher.live.length === 0);
  });

  it("depends on tenant, kind of principal, subject and hint, each of them", () => {
    const principals: Principal[] = [
      { mode: "api-key", tenant: "a", subject: "-" },
      { mode: "api-key", tenant: "b", subject: "-" },
      { mode: "jwt", tenant: "a", subject: "-" },
      { mode: "jwt", tenant: "a", subject: "u" },
      { mode: "none", tenant: "a", subject: "-" },
    ];
    const keys = principals.flatMap((p) => [runtimeSessionKey(p, "h1"), runtimeSessionKey(p, "h2")]);
    expect(new Set(keys.map(({ digest }) => digest)).size).toBe(keys.length);
    for (const { digest } of keys) expect(digest).toMatch(/^[A-Za-z0-9-]{21}$/);
  });

  it("keeps a token's named session from the tenant's other users", () => {
    const of = (subject: string) =>
      JSON.stringify(namedSessionKey({ mode: "jwt", tenant: "t", subject }, "s"));
    expect(of("u1")).not.toBe(of("u2"));
    expect(of("u1")).toBe(of("u1"));
  });

  it("serves many calls of one session in the order they came", async () => {
    const gateway = start();
    const order: string[] = [];
    launcher.script = (message, body, sandbox) => {
      order.push(body.toString());
      ECHO(message, body, sandbox);
    };
    const codes = Array.from({ length: 20 }, (_, i) => String(i));
    const replies = await Promise.all(codes.map((code) => exec(gateway, code, inSession)));
    expect(replies.map((reply) => (reply as { stdout: string }).stdout)).toEqual(codes);
    expect(order).toEqual(codes);
    expect(launcher.created).toBe(1);
  });
});

describe("profiles", () => {
  const PROFILES = {
    KERNELYARD_PROFILES: "analyst,documents",
    KERNELYARD_TENANT_PROFILES: "team-a=analyst,team-b=documents",
    KERNELYARD_API_KEYS: `team-a=${KEY},team-b=${OTHER_KEY},other=Other0123456789key`,
  };
  beforeEach(() => {
    launcher.profiles = ["default", "analyst", "documents"];
  });
  const as = (gateway: Gateway, key: string, more: Record<string, unknown> = {}) =>
    gateway.post("/exec", { lang: "py", code: "1", ...more }, { "x-api-key": key });
  const made = () => [...launcher.sandboxes.values()].map(({ info }) => info.profile);

  it("are chosen by the caller's tenant, for calls and for sessions, and by nothing in the request", async () => {
    const gateway = start(PROFILES);
    const claims = {
      "x-codeapi-expected-profile": "default",
      "x-codeapi-execution-profile": "documents",
      "x-profile": "documents",
    };
    for (const [key, more] of [
      [KEY, {}],
      [KEY, inSession],
      [OTHER_KEY, {}],
      [OTHER_KEY, inSession],
      ["Other0123456789key", {}],
    ] as const) {
      const response = await gateway.post(
        "/exec",
        { lang: "py", code: "1", profile: "documents", ...more },
        { "x-api-key": key, ...claims },
      );
      expect(response.status).toBe(200);
    }
    expect(made()).toEqual(["analyst", "analyst", "documents", "documents", "default"]);
  });

  it("have pools of their own: nobody gets a warm sandbox of another profile", async () => {
    const gateway = start({ ...PROFILES, KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 3);
    expect(made().sort()).toEqual(["analyst", "default", "documents"]);
    const warm = [...launcher.sandboxes.values()].find(({ info }) => info.profile === "documents");
    await as(gateway, OTHER_KEY);
    expect(warm?.used).toBe(true);
    // The others stay as they were.
    expect([...launcher.sandboxes.values()].filter(({ used }) => used)).toHaveLength(1);
  });

  it("that changed for a tenant take its session along: files stay, the variables' loss is told", async () => {
    const before = start(PROFILES);
    await as(before, KEY, inSession);
    before.kernels.stop();
    const after = start({ ...PROFILES, KERNELYARD_TENANT_PROFILES: "team-a=documents" });
    await after.kernels.start();
    const reply = await (await as(after, KEY, { ...inSession, code: "x" })).json();
    expect(reply).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining("another profile now"),
    });
    expect(launcher.live.map(({ info }) => info.profile)).toEqual(["documents"]);
  });

  it("say each for itself which languages there are", async () => {
    const gateway = start(PROFILES);
    await as(gateway, KEY);
    expect(gateway.executor.languages()).toEqual([]);
    await as(gateway, "Other0123456789key");
    expect(gateway.executor.languages()).not.toEqual([]);
  });
});

describe("lost kernels", () => {
  /** The gateway has seen the end of the session's stream. */
  const noticed = (gateway: Gateway) => {
    const caller = { mode: "api-key", tenant: "default", subject: "-" } as const;
    const key = runtimeSessionKey(caller, inSession.runtime_session_hint);
    const session = gateway.kernels.registry.session(key);
    return until(() => !session.attached);
  };
  const endSandbox = (gateway: Gateway, sandbox: SandboxStandIn | undefined) => {
    sandbox?.die({ reason: "out_of_memory", exit_code: 137 });
    return noticed(gateway);
  };

  it("are told to the next Python call, once, and to no other language", async () => {
    const gateway = start();
    await exec(gateway, "x = 1", inSession);
    await endSandbox(gateway, launcher.live[0]);
    expect(await exec(gateway, "true", { ...inSession, lang: "bash" })).toMatchObject({
      stderr: "",
      runtime_status: "new",
    });
    expect(await exec(gateway, "x", inSession)).toMatchObject({
      stderr:
        "\n[sandbox] The session was restarted because it ran out of memory: variables are lost, files are kept.\n",
    });
    expect(await exec(gateway, "x", inSession)).toMatchObject({ stderr: "" });
  });

  it("are told to the first bash program whose cell meets the new kernel", async () => {
    const gateway = start();
    await exec(gateway, "x = 1", inSession);
    await endSandbox(gateway, launcher.live[0]);
    const bash = { ...inSession, lang: "bash" };
    expect(await exec(gateway, "true", bash)).toMatchObject({ stderr: "" });
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.reply(message.msg_id, { execution_count: 1 });
    };
    expect(await exec(gateway, "kernel x", bash)).toMatchObject({
      stderr: expect.stringContaining("because it ran out of memory: variables are lost, files are kept."),
    });
    expect(await exec(gateway, "kernel x", bash)).toMatchObject({ stderr: "" });
  });

  it("of a call that itself met a new kernel are those that it made", async () => {
    const gateway = start();
    launcher.script = (message, _body, sandbox) => {
      // The kernel had died before the call, which has made variables since.
      if (message.msg_type === "execute_request")
        sandbox.reply(message.msg_id, { kernel: "restarted", execution_count: 1 });
    };
    await exec(gateway, "x = 1", inSession);
    await endSandbox(gateway, launcher.live[0]);
    launcher.script = ECHO;
    expect(await exec(gateway, "x", inSession)).toMatchObject({
      stderr: expect.stringContaining("because it ran out of memory"),
    });
  });

  it("are no news to a session that never ran anything", async () => {
    const gateway = start();
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.reply(message.msg_id, { kernel: "restarted" });
    };
    await exec(gateway, "1", inSession);
    await endSandbox(gateway, launcher.live[0]);
    launcher.script = ECHO;
    expect(await exec(gateway, "2", inSession)).toMatchObject({ stderr: "", runtime_status: "new" });
  });

  it("are told by the call that broke the protocol itself, and never again", async () => {
    const gateway = start();
    await exec(gateway, "x = 1", inSession);
    const [liar] = launcher.live;
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(message.msg_type);
      sandbox.print("another-call", "?");
    };
    expect(await exec(gateway, "x", inSession)).toMatchObject({
      status: "SG",
      stderr:
        "\n[sandbox] Sandbox was terminated\n\n[sandbox] The sandbox is gone: variables are lost, files are kept.\n",
    });
    launcher.script = ECHO;
    expect(await exec(gateway, "x", inSession)).toMatchObject({ stderr: "", runtime_status: "new" });
    expect(launcher.removed).toEqual([liar?.id]);
  });

  it("are told to the next call when the sandbox broke the protocol between two", async () => {
    const gateway = start();
    await exec(gateway, "x = 1", inSession);
    launcher.live[0]?.print("no-call", "?");
    await until(() => launcher.live.length === 0);
    expect(await exec(gateway, "x", inSession)).toMatchObject({
      stderr: expect.stringContaining("restarted because its sandbox broke the protocol"),
    });
  });

  it("never come back in a sandbox that could not be removed yet", async () => {
    const gateway = start();
    await exec(gateway, "x = 1", inSession);
    const [liar] = launcher.live;
    launcher.keepsSandboxes = true;
    liar?.print("no-call", "?");
    await noticed(gateway);
    const answer = await gateway.post("/exec", { lang: "py", code: "x", ...inSession });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: "sandbox_failed" });
    launcher.keepsSandboxes = false;
    expect(await exec(gateway, "x", inSession)).toMatchObject({ runtime_status: "new" });
    expect(launcher.removed).toEqual([liar?.id]);
  });

  it("end when a session is idle, and its place is free", async () => {
    const gateway = start({ KERNELYARD_IDLE_MS: "1000" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    await until(() => launcher.live.length === 0);
    expect(gateway.kernels.registry.live).toBe(0);
    expect(await exec(gateway, "2", inSession)).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining("not used for too long"),
    });
  });
});

describe("a session that is busy", () => {
  /** Runs what is called "loop" until it is interrupted; `ended` is how. */
  const looping = (ended: Parameters<SandboxStandIn["reply"]>[1]) => {
    launcher.script = (message, body, sandbox) => {
      if (message.msg_type === "interrupt_request") {
        sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
        sandbox.reply(message.parent_id, { status: "error", reason: "interrupted", ...ended });
      } else if (body.toString() !== "loop") {
        ECHO(message, body, sandbox);
      }
    };
  };
  const begun = () => until(() => launcher.live.some(({ executing }) => executing !== null));
  const interrupts = () =>
    [...launcher.sandboxes.values()]
      .flatMap(({ received }) => received)
      .filter(({ msg_type }) => msg_type === "interrupt_request").length;

  it("gives way to the next call when the setting says so, and keeps its variables", async () => {
    const gateway = start({ KERNELYARD_BUSY_INTERRUPT_MS: "0" });
    looping({ exit_code: null, signal: "SIGINT", kernel: "kept" });
    await exec(gateway, "x = 1", inSession);
    const stopped = exec(gateway, "loop", inSession);
    await begun();
    expect(await exec(gateway, "next", inSession)).toMatchObject({
      stdout: "next",
      stderr: "",
      runtime_status: "reused",
    });
    expect(await stopped).toMatchObject({
      status: null,
      message: "Interrupted",
      stderr:
        "\n[sandbox] Interrupted\n\n[sandbox] Another call of this session waited, and this one had run long enough.\n",
    });
    expect(launcher.created).toBe(1);
  });

  it("tells the next call when what gave way took the variables with it", async () => {
    const gateway = start({ KERNELYARD_BUSY_INTERRUPT_MS: "0" });
    looping({ exit_code: null, signal: "SIGKILL", kernel: "restarted" });
    await exec(gateway, "x = 1", inSession);
    const stopped = exec(gateway, "loop", inSession);
    await begun();
    expect(await exec(gateway, "next", inSession)).toMatchObject({
      stderr:
        "\n[sandbox] The session was restarted because the call before gave way and did not stop when interrupted: variables are lost, files are kept.\n",
    });
    await stopped;
    expect(await exec(gateway, "again", inSession)).toMatchObject({ stderr: "" });
  });

  it("is not interrupted by a prewarm, nor by anybody without the setting", async () => {
    for (const [env, call] of [
      [{ KERNELYARD_BUSY_INTERRUPT_MS: "0" }, { lang: "bash", code: "true" }],
      [{}, { lang: "bash", code: "ls" }],
    ] as const) {
      const gateway = start(env);
      const hint = { runtime_session_hint: JSON.stringify(env).replaceAll(/[^A-Z]/g, "x") };
      launcher.script = (message, body, sandbox) => {
        if (message.msg_type === "interrupt_request") throw new Error("interrupted");
        if (body.toString() !== "loop") ECHO(message, body, sandbox);
      };
      const running = exec(gateway, "loop", hint);
      await begun();
      const waiting = exec(gateway, call.code, { ...hint, lang: call.lang });
      const busy = launcher.live.find(({ executing }) => executing !== null);
      await until(() => gateway.kernels.registry.waiting === 1);
      // A timer of zero milliseconds would have fired by now.
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(interrupts()).toBe(0);
      busy?.reply(busy.executing ?? "");
      expect(await running).toMatchObject({ status: null });
      expect(await waiting).toMatchObject({ stdout: call.code, stderr: "" });
    }
  });

  it("refuses those that wait when the gateway stops, and finishes the one that runs", async () => {
    const gateway = start();
    looping({});
    const running = exec(gateway, "loop", inSession);
    await begun();
    const waiting = gateway.post("/exec", { lang: "py", code: "next", ...inSession });
    await until(() => gateway.kernels.registry.waiting === 1);
    const drained = gateway.drain(10_000);
    const refused = await waiting;
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: "shutting_down" });
    const [busy] = launcher.live;
    busy?.reply(busy.executing ?? "");
    expect(await running).toMatchObject({ status: null });
    await drained;
  });
});

describe("a session that sleeps", () => {
  const other = { runtime_session_hint: "other" };

  it("does so when it is idle, frees its place, and goes on with the next call", async () => {
    launcher.sleeping = "on";
    const gateway = start({ KERNELYARD_SLEEP_AFTER_MS: "1000" });
    await gateway.kernels.start();
    await exec(gateway, "x = 1", inSession);
    await until(() => gateway.kernels.registry.live === 0);
    expect(launcher.live).toEqual([]);
    expect(launcher.removed).toEqual([]);
    expect(await exec(gateway, "x", inSession)).toMatchObject({ runtime_status: "reused", stderr: "" });
  });

  it("whose sandbox somebody removed before is counted as lost, once", async () => {
    launcher.sleeping = "on";
    const gateway = start({ KERNELYARD_SLEEP_AFTER_MS: "1000" });
    await gateway.kernels.start();
    await exec(gateway, "x = 1", inSession);
    const [sandbox] = launcher.live;
    launcher.sandboxes.delete(sandbox?.id ?? "");
    sandbox?.socket?.destroy();
    await until(() => gateway.kernels.registry.live === 0);
    const lost = () => gateway.scrape?.text();
    expect(await lost()).toContain('kernelyard_kernel_losses_total{reason="ended"} 1\n');
    expect(await exec(gateway, "x", inSession)).toMatchObject({ runtime_status: "new" });
    expect(await lost()).toContain('kernelyard_kernel_losses_total{reason="ended"} 1\n');
  });

  it("gives way to another one when the host is full: whoever is idle longest", async () => {
    launcher.sleeping = "on";
    launcher.capacity = 2;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    await exec(gateway, "2", other);
    await exec(gateway, "3", inSession);
    expect(await exec(gateway, "4", { runtime_session_hint: "third" })).toMatchObject({
      runtime_status: "new",
    });
    expect(await exec(gateway, "5", inSession)).toMatchObject({ runtime_status: "reused" });
    // The other one had gone, and comes back in its turn.
    expect(await exec(gateway, "6", other)).toMatchObject({ runtime_status: "reused", stderr: "" });
    expect(launcher.live).toHaveLength(2);
  });

  it("makes room before anybody waits, once another one has begun in the last place", async () => {
    launcher.sleeping = "on";
    launcher.capacity = 2;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    expect(launcher.live).toHaveLength(1);
    await exec(gateway, "2", other);
    await until(() => launcher.live.length === 1);
    // It comes back into the place: nobody else is moved for it.
    expect(await exec(gateway, "3", inSession)).toMatchObject({ runtime_status: "reused", stderr: "" });
    expect([launcher.askedToSleep, launcher.refused]).toEqual([1, 0]);
    expect(launcher.live).toHaveLength(2);
  });

  it.each(["busy", "off"] as const)("is not ended for who has not come yet (%s)", async (how) => {
    launcher.sleeping = how;
    launcher.capacity = 2;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    await exec(gateway, "2", other);
    await until(() => launcher.askedToSleep > 0);
    expect(launcher.live).toHaveLength(2);
    expect(await exec(gateway, "3", inSession)).toMatchObject({ runtime_status: "reused", stderr: "" });
  });

  it("stays when it is busy, and serves the next call as ever", async () => {
    launcher.sleeping = "busy";
    const gateway = start({ KERNELYARD_POOL_SIZE: "0", KERNELYARD_SLEEP_AFTER_MS: "500" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    await until(() => launcher.askedToSleep > 0);
    expect(await exec(gateway, "3", inSession)).toMatchObject({ runtime_status: "reused", stderr: "" });
    expect(launcher.created).toBe(1);
  });

  it("is asked again on a full host where it is busy for a moment", async () => {
    launcher.sleeping = "busy";
    launcher.capacity = 1;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    const next = exec(gateway, "2", other);
    await until(() => launcher.askedToSleep > 0);
    launcher.sleeping = "on";
    expect(await next).toMatchObject({ runtime_status: "new" });
    expect(await exec(gateway, "3", inSession)).toMatchObject({ runtime_status: "reused", stderr: "" });
  });

  it.each(["busy", "off"] as const)("ends on a full host where it cannot (%s), and is told", async (how) => {
    launcher.sleeping = how;
    launcher.capacity = 1;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    expect(await exec(gateway, "2", other)).toMatchObject({ runtime_status: "new" });
    expect(await exec(gateway, "3", inSession)).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining("the host was full"),
    });
  });

  it("ends where it cannot, and the next gateway tells why", async () => {
    const before = start({ KERNELYARD_SLEEP_AFTER_MS: "1000", KERNELYARD_IDLE_MS: "1500" });
    await before.kernels.start();
    await exec(before, "1", inSession);
    await until(() => launcher.live.length === 0);
    before.stop();
    expect(await exec(start(), "2", inSession)).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining("not used for too long"),
    });
  });

  it("tells what the launcher says of a state that did not wake, once", async () => {
    launcher.sleeping = "on";
    launcher.capacity = 1;
    const gateway = start({ KERNELYARD_POOL_SIZE: "0" });
    await gateway.kernels.start();
    await exec(gateway, "1", inSession);
    await exec(gateway, "2", other);
    for (const { ended, info } of launcher.sandboxes.values()) {
      if (ended?.reason !== "asleep") continue;
      launcher.lost.set(JSON.stringify(info.session), "the sandbox image was updated");
      launcher.sandboxes.delete(info.id);
    }
    expect(await exec(gateway, "3", inSession)).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining(
        "because the sandbox image was updated: variables are lost, files are kept",
      ),
    });
    expect(await exec(gateway, "4", inSession)).toMatchObject({ stderr: "" });
  });
});

describe("a restarted gateway", () => {
  it("attaches to the kernels that are there, and ends calls nobody waits for", async () => {
    const before = start();
    await exec(before, "1", inSession);
    const [sandbox] = launcher.live;
    if (sandbox === undefined) throw new Error("no sandbox");
    before.stop();
    sandbox.executing = "orphan";
    const interrupted: string[] = [];
    launcher.script = (message, body, box) => {
      if (message.msg_type !== "interrupt_request") {
        ECHO(message, body, box);
        return;
      }
      interrupted.push(message.parent_id);
      box.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      box.reply(message.parent_id, { status: "error", reason: "interrupted" });
    };
    const after = start();
    await after.kernels.start();
    expect(interrupted).toEqual(["orphan"]);
    expect(await exec(after, "2", inSession)).toMatchObject({ stdout: "2", runtime_status: "reused" });
    expect(launcher.created).toBe(1);
  });

  it("removes fresh sandboxes that it did not make: nobody knows what is in them", async () => {
    const before = start({ KERNELYARD_POOL_SIZE: "1" });
    await before.kernels.start();
    await until(() => before.kernels.pool.ready === 1);
    const [theirs] = launcher.live;
    before.stop();
    const used = launcher.add({ kind: "fresh", profile: "default" }, true);
    const gateway = start({ KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 1);
    expect(launcher.removed).toEqual([theirs?.id, used.id]);
    expect(launcher.created).toBe(3);
  });

  it("waits for a launcher that is not there yet", async () => {
    await launcher.stop();
    const gateway = start({ KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await launcher.start();
    await until(() => gateway.kernels.pool.ready === 1);
  });
});

describe("the pool", () => {
  it("is filled, serves each sandbox once, and is filled again", async () => {
    const gateway = start({ KERNELYARD_POOL_SIZE: "2" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 2);
    expect(launcher.created).toBe(2);
    await exec(gateway, "1");
    await until(() => gateway.kernels.pool.ready === 2 && launcher.live.length === 2);
    expect(launcher.created).toBe(3);
  });

  it("gives way to a session when the host is full", async () => {
    launcher.capacity = 1;
    const gateway = start({ KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 1);
    expect(await exec(gateway, "1", inSession)).toMatchObject({ runtime_status: "new" });
    expect(launcher.live.map(({ info }) => info.kind)).toEqual(["session"]);
  });

  it("makes callers wait for a running call to end when the host is full", async () => {
    launcher.capacity = 2;
    const gateway = start();
    const codes = Array.from({ length: 10 }, (_, i) => String(i));
    const replies = await Promise.all(codes.map((code) => exec(gateway, code)));
    expect(replies.map((reply) => (reply as { stdout: string }).stdout)).toEqual(codes);
    await until(() => launcher.live.length === 0);
  });

  it("leaves the place of a session whose sandbox died to a call that waits for one", async () => {
    launcher.capacity = 2;
    const gateway = start();
    launcher.script = (message, body, sandbox) => {
      const code = body.toString();
      if (code === "die") sandbox.die({ reason: "out_of_memory", exit_code: 137 });
      else if (code !== "run on") ECHO(message, body, sandbox);
    };
    await exec(gateway, "1", inSession);
    const hangUp = new AbortController();
    const running = gateway.post("/exec", { lang: "py", code: "run on" }, {}, hangUp.signal);
    await until(() => launcher.live.length === 2);
    const waiting = exec(gateway, "2", { runtime_session_hint: "other" });
    await until(() => launcher.refused === 1);
    expect(await exec(gateway, "die", inSession)).toMatchObject({ message: "Out of memory" });
    expect(await waiting).toMatchObject({ stdout: "2", runtime_status: "new" });
    hangUp.abort();
    await running;
  });

  it("takes its sandboxes back after a launcher's restart", async () => {
    const gateway = start({ KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 1);
    await launcher.stop();
    await until(() => gateway.kernels.pool.ready === 0);
    await launcher.start();
    await until(() => gateway.kernels.pool.ready === 1);
    await exec(gateway, "1");
  });

  it("does not take back one that was used while its stream was broken", async () => {
    const gateway = start({ KERNELYARD_POOL_SIZE: "1" });
    await gateway.kernels.start();
    await until(() => gateway.kernels.pool.ready === 1);
    const [spare] = launcher.live;
    if (spare === undefined) throw new Error("no sandbox");
    spare.used = true;
    spare.socket?.destroy();
    await until(() => launcher.removed.includes(spare.id) && gateway.kernels.pool.ready === 1);
    expect(launcher.live[0]?.id).not.toBe(spare.id);
  });

  it("removes the sandbox of a caller who hangs up", async () => {
    const gateway = start();
    launcher.script = () => {};
    const hangUp = new AbortController();
    const call = gateway.post("/exec", { lang: "py", code: "loop" }, {}, hangUp.signal);
    await until(() => launcher.live.some(({ executing }) => executing !== null));
    hangUp.abort();
    await call;
    await until(() => launcher.live.length === 0);
  });
});

/** `run on` ends when it is interrupted, the canary prints what it should, all else is printed. */
const RUNS_ON: Script = (message, body, sandbox) => {
  const code = body.toString();
  if (message.msg_type === "interrupt_request") {
    sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
    sandbox.reply(message.parent_id, { status: "error", reason: "interrupted" });
  } else if (code.startsWith("print(")) {
    ECHO(message, Buffer.from("42\n"), sandbox);
  } else if (code !== "run on") {
    ECHO(message, body, sandbox);
  }
};

describe("a host that is full of idle sessions", () => {
  const TOLD = "[sandbox] The session was restarted because the host was full and it had been idle longest";
  const reply = z.object({ stderr: z.string(), runtime_status: z.enum(["new", "reused"]) });
  const converse = async (gateway: Gateway, n: number) =>
    reply.parse(await exec(gateway, `x${n}`, { runtime_session_hint: `conversation:${n}` }));

  it("serves ten times as many conversations in turn, and tells each of what it lost", async () => {
    launcher.capacity = 20;
    const gateway = start();
    await gateway.kernels.start();
    for (let n = 0; n < 200; n++)
      expect(await converse(gateway, n)).toEqual({ stderr: "", runtime_status: "new" });
    // Now at random; whoever was served before has lost its kernel, or has it still.
    let seed = 7;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % 200;
    };
    let reused = 0;
    for (let call = 0; call < 200; call++) {
      const { stderr, runtime_status } = await converse(gateway, random());
      if (runtime_status === "reused") reused += 1;
      expect(stderr).toContain(runtime_status === "reused" ? "" : TOLD);
      expect(stderr === "").toBe(runtime_status === "reused");
    }
    expect(reused).toBeGreaterThan(0);
    expect(launcher.live.length).toBeLessThanOrEqual(19);
  });

  it("lets the one go that has been idle longest, and none that runs", async () => {
    launcher.capacity = 3;
    const gateway = start();
    await gateway.kernels.start();
    const hangUp = new AbortController();
    launcher.script = RUNS_ON;
    const first = { lang: "py", code: "run on", runtime_session_hint: "conversation:0" };
    const running = gateway.post("/exec", first, {}, hangUp.signal);
    await until(() => launcher.live.some(({ executing }) => executing !== null));
    for (const n of [1, 2, 1, 3]) await converse(gateway, n);
    expect(await converse(gateway, 1)).toMatchObject({ runtime_status: "reused" });
    expect(await converse(gateway, 2)).toMatchObject({
      runtime_status: "new",
      stderr: expect.stringContaining(TOLD),
    });
    hangUp.abort();
    await running;
  });

  it("lets one whose stream broke go on in its own place: nobody gives way for it", async () => {
    launcher.capacity = 3;
    const gateway = start();
    await gateway.kernels.start();
    for (const n of [1, 2, 3]) await converse(gateway, n);
    for (const { socket } of launcher.live) socket?.destroy();
    for (const n of [1, 2, 3])
      expect(await converse(gateway, n)).toEqual({ stderr: "", runtime_status: "reused" });
    expect([launcher.created, launcher.removed]).toEqual([3, []]);
  });

  it("takes no other one's variables while removals fail", async () => {
    launcher.capacity = 3;
    const gateway = start();
    await gateway.kernels.start();
    for (const n of [1, 2, 3]) await converse(gateway, n);
    launcher.keepsSandboxes = true;
    const refused = await gateway.post("/exec", { lang: "py", code: "4", runtime_session_hint: "4" });
    expect(refused.status).toBe(429);
    expect(gateway.kernels.registry.live).toBe(2);
  });

  it("is healthy, and says that it is full when calls run in all of it", async () => {
    launcher.capacity = 4;
    const gateway = start();
    await gateway.kernels.start();
    for (const n of [1, 2, 3]) await converse(gateway, n);
    const health = async () =>
      (await gateway.app.request("/health?detail", { headers: { "x-api-key": KEY } })).json();
    launcher.script = RUNS_ON;
    expect(await health()).toMatchObject({ status: "ok", canary: { ok: true } });
    // The canary has run in the place that is its own: nobody gave way.
    expect(gateway.kernels.registry.live).toBe(3);
    const hangUp = new AbortController();
    const running = [1, 2, 3].map((n) =>
      gateway.post(
        "/exec",
        { lang: "py", code: "run on", runtime_session_hint: `conversation:${n}` },
        n === 3 ? { "x-api-key": OTHER_KEY } : {},
        hangUp.signal,
      ),
    );
    await until(() => launcher.live.filter(({ executing }) => executing !== null).length === 3);
    expect(await health()).toMatchObject({ status: "host_full", canary: { ok: true } });
    hangUp.abort();
    await Promise.all(running);
  });
});

it("one caller's two hundred hints do not keep another from running", async () => {
  launcher.capacity = 10;
  const gateway = start();
  await gateway.kernels.start();
  const hangUp = new AbortController();
  launcher.script = RUNS_ON;
  const many = Array.from({ length: 200 }, (_, n) =>
    gateway.post("/exec", { lang: "py", code: "run on", runtime_session_hint: `h${n}` }, {}, hangUp.signal),
  );
  await until(() => launcher.live.filter(({ executing }) => executing !== null).length === 8);
  const other = await gateway.post(
    "/exec",
    { lang: "py", code: "1", runtime_session_hint: "h" },
    { "x-api-key": OTHER_KEY },
  );
  expect(other.status).toBe(200);
  hangUp.abort();
  await Promise.all(many);
});
