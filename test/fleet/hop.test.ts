/** A call that reaches another host than its session's: real listeners, real TLS, a real engine; launchers are stand-ins. */

import { once } from "node:events";
import { request as secureRequest } from "node:https";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeCertificate } from "../../gateway/server/fleet/hop/certificate.ts";
import { createHopServer } from "../../gateway/server/http/hop-server.ts";
import type { Tracing } from "../../gateway/server/tracing/tracing.ts";
import { RedisServer } from "../support/redis/redis-server.ts";
import { Wire } from "../support/wire.ts";
import { KEY, OTHER_KEY, until } from "../unit/http/gateway-under-test.ts";
import { reply } from "../unit/http/listening.ts";
import { ECHO, type Script } from "../unit/sessions/launcher-stand-in.ts";
import { type HostUnderTest, newFleet, startHost } from "./fleet-under-test.ts";

let engine: RedisServer;
beforeAll(async () => {
  engine = await RedisServer.start();
});
afterAll(() => engine?.dispose());

async function hosts(count: number, env: Record<string, string> = {}): Promise<HostUnderTest[]> {
  const fleet = await newFleet(engine);
  const started: HostUnderTest[] = [];
  for (let n = 0; n < count; n++) started.push(await startHost({ url: engine.url, fleet, env }));
  return started;
}

const run = (code: string, session = "s") => ({ session_id: session, code });
async function post(host: HostUnderTest, path: string, body: unknown, headers: Record<string, string> = {}) {
  const call = host.listening.begin("POST", path, { headers });
  call.end(JSON.stringify(body));
  const { body: said, headers: sent, status } = await reply(call);
  return { status, headers: sent, body: said, json: () => JSON.parse(said) };
}

const executed = (host: HostUnderTest) =>
  [...host.launcher.sandboxes.values()].flatMap(({ received }) =>
    received.filter(({ msg_type }) => msg_type === "execute_request"),
  ).length;

/** Calls run in all places of the first host, and the second one's room is known to it. */
async function filled(a: HostUnderTest, b: HostUnderTest): Promise<() => Promise<void>> {
  const before = executed(a);
  a.launcher.script = (message, _body, sandbox) => {
    if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
  };
  // One caller has nine tenths of the places at most, and none that is the service's own.
  const full = [KEY, KEY, KEY, KEY, KEY, KEY, OTHER_KEY].map((key, n) =>
    post(a, "/run", run("1", `held-${n}`), { "x-api-key": key }),
  );
  await until(() => executed(a) === before + 7);
  const free = () => Object.fromEntries((a.gateway.fleet?.hosts ?? []).map((host) => [host.id, host.free]));
  await expect.poll(free).toEqual({ [a.id]: 0, [b.id]: 7 });
  return async () => {
    for (const sandbox of a.launcher.live) if (sandbox.executing !== null) sandbox.reply(sandbox.executing);
    await Promise.all(full);
  };
}

describe("a session of a fleet", () => {
  it("is served by the host that has it, whichever host is asked", async () => {
    const [a, b, c] = await hosts(3);
    if (!a || !b || !c) throw new Error("no hosts");
    for (const host of [a, b, c, b]) {
      expect((await post(host, "/run", run("print(1)"))).json()).toMatchObject({
        stdout: "print(1)",
        exit_code: 0,
      });
    }
    expect([a, b, c].map((host) => host.launcher.created)).toEqual([1, 0, 0]);
    expect(executed(a)).toBe(4);
    // A runtime session, another caller of the same name, and a call without a session are others.
    const hint = { lang: "py", code: "1", runtime_session_hint: "h" };
    expect((await post(b, "/exec", hint)).json()).toMatchObject({ stdout: "1", runtime_status: "new" });
    expect((await post(c, "/v1/exec", hint)).json()).toMatchObject({ stdout: "1", runtime_status: "reused" });
    await post(c, "/run", run("2"), { "x-api-key": OTHER_KEY });
    await post(c, "/exec", { lang: "py", code: "3" });
    expect([a, b, c].map((host) => host.launcher.created)).toEqual([1, 1, 2]);
  });

  it("is not asked for when it is here: the engine may be away", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    await post(a, "/run", run("2", "other"));
    const client = engine.client();
    const before = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    for (let n = 0; n < 20; n++) await post(a, "/run", run(String(n)));
    const after = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    client.disconnect();
    // Beats, and what is looked at with them.
    expect(after - before).toBeLessThan(20);
  });

  it("begins where there is room", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    const release = await filled(a, b);
    expect((await post(a, "/run", run("1", "new"))).status).toBe(200);
    expect(b.launcher.created).toBe(1);
    await release();
  });

  it("is told whose span is above its own", async () => {
    const fleet = await newFleet(engine);
    const heard: (string | undefined)[] = [];
    const traced = (own: string) => (): Tracing => ({
      middleware: async (c, next) => {
        heard.push(c.req.header("traceparent"));
        await next();
      },
      traceparent: () => own,
      watch: (executor) => executor,
      close: async () => {},
    });
    const [above, below] = ["1", "2"].map((n) => `00-${n.repeat(32)}-${n.repeat(16)}-01`);
    const a = await startHost({ url: engine.url, fleet, openTracing: traced(`${below}`) });
    await post(a, "/run", run("1"));
    const b = await startHost({ url: engine.url, fleet, openTracing: traced(`${above}`) });
    heard.length = 0;
    await post(b, "/run", run("2"), { traceparent: "00-3-4-01" });
    expect(heard).toEqual(["00-3-4-01", above]);
    expect(a.gateway.logLines.some((line) => line.includes(`"traceparent":"${below}"`))).toBe(true);
  });

  it("streams through as it happens", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    const body = { lang: "py", code: "1", runtime_session_hint: "h" };
    await post(a, "/exec", body);
    let go = () => {};
    const more = new Promise<void>((resolve) => {
      go = resolve;
    });
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
      sandbox.print(message.msg_id, "first");
      void more.then(() => {
        sandbox.print(message.msg_id, "second");
        sandbox.reply(message.msg_id);
      });
    };
    const call = b.listening.begin("POST", "/exec/stream");
    call.end(JSON.stringify(body));
    const [response] = await once(call, "response");
    expect(response.headers["content-type"]).toContain("text/event-stream");
    let said = "";
    for await (const chunk of response) {
      said += chunk;
      // The first piece is here before there is a second one.
      if (said.includes("first") && !said.includes("second")) go();
    }
    expect(said).toMatch(/event: stdout[\s\S]*first[\s\S]*second[\s\S]*event: result/);
    expect(b.launcher.created).toBe(0);
  });

  it("does not take from its host what the caller does not read", async () => {
    const fleet = await newFleet(engine);
    const env = { KERNELYARD_STDOUT_LIMIT: String(64 * 1024 * 1024) };
    const a = await startHost({ url: engine.url, fleet, env, wired: true });
    const b = await startHost({ url: engine.url, fleet, env });
    const passed = () => a.wire?.passed ?? 0;
    await post(a, "/run", run("1"));
    const piece = "x".repeat(1024 * 1024);
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") return;
      for (let n = 0; n < 48; n++) sandbox.print(message.msg_id, piece);
      sandbox.reply(message.msg_id);
    };
    const call = b.listening.begin("POST", "/run");
    call.end(JSON.stringify(run("2")));
    const [response] = await once(call, "response");
    let before = -1;
    const rests = () => {
      const still = passed() === before && before > 0;
      before = passed();
      return still;
    };
    await expect.poll(rests, { interval: 300 }).toBe(true);
    expect(before).toBeLessThan(24 * piece.length);
    expect(JSON.parse(await text(response)).stdout).toHaveLength(48 * piece.length);
  });

  it("keeps a long call's connection with spaces, through the hop", async () => {
    const [a, b] = await hosts(2, { KERNELYARD_KEEP_ALIVE_MS: "20" });
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    let finish = () => {};
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") finish = () => sandbox.reply(message.msg_id);
    };
    const call = b.listening.begin("POST", "/run");
    call.end(JSON.stringify(run("1")));
    const [response] = await once(call, "response");
    const [first] = await once(response, "data");
    expect(String(first)).toMatch(/^ +$/);
    finish();
    expect(JSON.parse(await text(response))).toMatchObject({ exit_code: 0 });
  });

  it("passes on that the caller hung up", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    let interrupted = false;
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
      else if (message.msg_type === "interrupt_request" && sandbox.executing !== null) {
        interrupted = true;
        sandbox.reply(sandbox.executing, { reason: "interrupted", exit_code: null, signal: "SIGINT" });
      }
    };
    const call = b.listening.begin("POST", "/run");
    call.end(JSON.stringify(run("1")));
    await until(() => a.launcher.live.some(({ executing }) => executing !== null));
    call.destroy();
    await until(() => interrupted);
  });

  it("is not waited for any more when the caller hangs up", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    a.hops.close();
    a.hops.closeAllConnections();
    const call = b.listening.begin("POST", "/run", { headers: { "x-request-id": "hung-up" } });
    call.end(JSON.stringify(run("2")));
    await until(() => b.gateway.inFlight.count > 0);
    call.destroy();
    await until(() => b.gateway.logLines.some((line) => line.includes("hung-up")));
    expect(b.gateway.logLines.join("")).not.toContain("unexpected error");
    expect(executed(a)).toBe(1);
  });

  it("carries the largest bodies", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    let bytes = 0;
    a.launcher.script = (message, body, sandbox) => {
      bytes += body.length;
      if (message.msg_type === "execute_request" || bytes < 7_000_000) return;
      sandbox.reply(sandbox.executing ?? "");
    };
    const code = `#${"x".repeat(7_000_000)}`;
    const answer = await post(b, "/run", run(code));
    expect(answer.status).toBe(200);
    expect(bytes).toBe(code.length);
  });

  it("is seen, interrupted and forgotten through any host, by its owner alone", async () => {
    const [a, b, c] = await hosts(3);
    if (!a || !b || !c) throw new Error("no hosts");
    const { runtime_session_id: id } = (
      await post(a, "/exec", { lang: "py", code: "1", runtime_session_hint: "h" })
    ).json();
    const ask = async (host: HostUnderTest, method: string, path: string, key = KEY) => {
      const call = host.listening.begin(method, `/runtime-sessions/${path}`, {
        headers: { "x-api-key": key },
      });
      call.end();
      return reply(call);
    };
    expect(JSON.parse((await ask(b, "GET", id)).body)).toMatchObject({
      id,
      state: "idle",
      has_variables: true,
    });
    expect((await ask(b, "GET", id, OTHER_KEY)).status).toBe(404);
    expect((await ask(b, "DELETE", id, OTHER_KEY)).status).toBe(404);
    expect(JSON.parse((await ask(b, "POST", `${id}/interrupt`)).body)).toEqual({ interrupted: false });
    expect(JSON.parse((await ask(c, "POST", `${id}/restart`)).body)).toEqual({ restarted: true });
    await post(b, "/run", run("1", "another"));
    await expect.poll(() => c.gateway.fleet?.otherHosts().length).toBe(2);
    const list = async (key: string) => {
      const call = c.listening.begin("GET", "/runtime-sessions", { headers: { "x-api-key": key } });
      call.end();
      return JSON.parse((await reply(call)).body).sessions.map((session: { id: string }) => session.id);
    };
    expect((await list(KEY)).sort()).toEqual([id, "another"].sort());
    expect(await list(OTHER_KEY)).toEqual([]);
    expect((await ask(b, "DELETE", id)).status).toBe(204);
    expect((await ask(c, "GET", id)).status).toBe(404);
    expect(a.launcher.volumes.size).toBe(0);
  });

  it("counts a caller's rate once, for all hosts together", async () => {
    const [a, b] = await hosts(2, { KERNELYARD_RATE_LIMITS: "on" });
    if (!a || !b) throw new Error("no hosts");
    const body = { lang: "py", code: "1", runtime_session_hint: "h" };
    for (const [n, host] of [a, b, a, b].entries()) {
      const { headers } = await post(host, "/exec", body);
      // Far from the end nobody waits for what the other host has counted at the same time.
      expect(Number(headers["ratelimit-remaining"])).toBeGreaterThanOrEqual(2999 - n);
    }
    const client = engine.client();
    const counted = async () => {
      const keys = await client.keys("*:rl:exec:true*");
      return Promise.all(keys.map((key) => client.get(key)));
    };
    await expect.poll(counted).toEqual(["4"]);
    client.disconnect();
  });

  it("is logged and answered with one request id by both hosts", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    const answer = await post(b, "/run", run("2"), { "x-request-id": "the-callers-own" });
    expect(answer.headers["x-request-id"]).toBe("the-callers-own");
    const lines = (host: HostUnderTest) =>
      host.gateway.logLines
        .filter((line) => line.includes("the-callers-own"))
        .map((line) => JSON.parse(line));
    await expect
      .poll(() => lines(a))
      .toMatchObject([{ status: 200, forwarded_by: b.id, outcome: "finished" }]);
    expect(lines(b)).toMatchObject([{ status: 200, host: a.id }]);
  });
});

describe("what has no session", () => {
  it("runs here while there is room, and elsewhere when there is none", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    const fresh = { lang: "py", code: "1" };
    expect((await post(a, "/exec", fresh)).status).toBe(200);
    expect(b.launcher.created).toBe(0);
    const release = await filled(a, b);
    expect((await post(a, "/exec", fresh)).json()).toMatchObject({ stdout: "1" });
    expect((await post(a, "/exec/stream", fresh)).body).toContain("event: result");
    expect(b.launcher.created).toBe(2);
    await release();
  });

  const TOOLS: Script = (message, body, sandbox) => {
    if (message.msg_type === "execute_request") {
      const calls = Buffer.from(JSON.stringify([{ id: "call_001", name: "f", input: {} }]));
      sandbox.executing = message.msg_id;
      const content = { calls_bytes: calls.length };
      sandbox.send({ msg_type: "tool_call_request", msg_id: "t", parent_id: message.msg_id, content }, calls);
    } else if (message.msg_type === "tool_reply" && sandbox.executing !== null) {
      sandbox.print(sandbox.executing, body.toString());
      sandbox.reply(sandbox.executing);
    } else if (message.msg_type === "interrupt_request" && sandbox.executing !== null) {
      sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      sandbox.reply(sandbox.executing, { status: "error", reason: "interrupted" });
    }
  };
  const start = { code: "f()", tools: [{ name: "f" }] };
  const named = (id: string) => ({ "x-librechat-code-request-id": id });

  it("a program that waits for its tools is continued through any host", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    a.launcher.script = TOOLS;
    const { continuation_token } = (await post(a, "/exec/programmatic", start, named("one"))).json();
    const results = { continuation_token, tool_results: [{ call_id: "call_001", result: { n: 7 } }] };
    const stranger = { ...named("other"), "x-api-key": OTHER_KEY };
    expect((await post(b, "/exec/programmatic", results, stranger)).status).toBe(403);
    // A host that nobody knows is asked nothing.
    const forged = {
      ...JSON.parse(Buffer.from(continuation_token, "base64").toString()),
      host: "169.254.169.254:80",
    };
    const token = Buffer.from(JSON.stringify(forged)).toString("base64");
    const elsewhere = { ...results, continuation_token: token };
    expect((await post(b, "/exec/programmatic", elsewhere)).status).toBe(404);
    const ended = (await post(b, "/exec/programmatic", results, named("two"))).json();
    expect(ended).toMatchObject({ status: "completed", stdout: expect.stringContaining('"n":7') });
    expect(b.launcher.created).toBe(0);
  });

  it("a program is cancelled through any host, also ahead of its request, by its caller alone", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    a.launcher.script = TOOLS;
    await post(a, "/exec/programmatic", start, named("one"));
    const cancel = (request_id: string, key = KEY) =>
      post(b, "/exec/programmatic/cancel", { request_id }, { "x-api-key": key });
    const stranger = await cancel("one", OTHER_KEY);
    // Somebody else's request of that name is another one.
    expect(stranger.status).toBe(202);
    expect(a.launcher.live).toHaveLength(1);
    const { status } = await post(
      a,
      "/exec/programmatic/cancel",
      { request_id: "one" },
      { "x-api-key": OTHER_KEY },
    );
    expect(status).toBe(403);
    await post(a, "/exec/programmatic", start, named("two"));
    expect((await cancel("two")).status).toBe(202);
    await expect.poll(() => a.launcher.live.length).toBe(1);
    expect((await cancel("two")).json()).toEqual({ status: "already_completed" });
    expect((await cancel("later")).status).toBe(202);
    expect((await post(a, "/exec/programmatic", start, named("later"))).status).toBe(409);
    expect((await post(b, "/exec/programmatic", start, named("later"))).status).toBe(409);
  });
});

describe("an operator", () => {
  it("sees the hosts, and what went between them", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    await post(b, "/run", run("2"));
    const figures = async (host: HostUnderTest) => (await host.gateway.scrape?.text()) ?? "";
    await expect.poll(() => figures(b)).toContain("kernelyard_fleet_hosts 2");
    expect(await figures(b)).toContain('kernelyard_fleet_forwards_total{outcome="answered"} 1');
    expect(await figures(b)).toContain("kernelyard_fleet_member 1");
    expect(await figures(a)).toContain('kernelyard_fleet_sessions_total{outcome="new"} 1');
    await expect.poll(() => figures(a)).toContain("kernelyard_fleet_hosts 2");
    const look = a.listening.begin("GET", "/health?detail");
    look.end();
    const { fleet, warnings } = JSON.parse((await reply(look)).body);
    expect(fleet).toMatchObject({ host: a.id, problem: null });
    expect(fleet.hosts.map(({ id }: { id: string }) => id).sort()).toEqual([a.id, b.id].sort());
    expect(warnings.join()).not.toContain("fleet");
  });
});

describe("the door for other hosts", () => {
  const knock = async ({ addr }: HostUnderTest, path: string, headers: Record<string, string> = {}) => {
    const [host, port] = addr.split(":");
    const call = secureRequest({
      host,
      port,
      path,
      method: "POST",
      rejectUnauthorized: false,
      headers: { "x-api-key": KEY, "content-type": "application/json", ...headers },
    });
    call.end(JSON.stringify(run("1")));
    const [response] = await once(call, "response");
    return { status: response.statusCode, body: await text(response) };
  };

  it("opens for nobody whose call is not signed, whatever is asked", async () => {
    const [a] = await hosts(1);
    if (!a) throw new Error("no host");
    for (const path of ["/run", "/health", "/openapi.json", "/nothing"]) {
      expect(await knock(a, path)).toMatchObject({
        status: 401,
        body: expect.stringContaining("not signed by a host"),
      });
    }
    expect(await knock(a, "/run", { "x-kernelyard-hop": "not a token" })).toMatchObject({ status: 401 });
    expect(a.launcher.created).toBe(0);
  });

  it("lets nobody be somebody else: the caller's own credentials count there again", async () => {
    const fleet = await newFleet(engine);
    const key = "a-third-key-0123456789";
    const env = { KERNELYARD_API_KEYS: `${KEY},third=${key}` };
    const a = await startHost({ url: engine.url, fleet, env });
    const b = await startHost({ url: engine.url, fleet, env });
    await post(a, "/run", run("1"), { "x-api-key": key });
    expect((await post(b, "/run", run("2"), { "x-api-key": key })).status).toBe(200);
    await a.die();
    const changed = await startHost({ url: engine.url, fleet, launcher: a.launcher, id: a.id });
    await expect.poll(async () => (await post(b, "/run", run("3"), { "x-api-key": key })).status).toBe(401);
    expect(executed(a)).toBe(2);
    await changed.die();
  });

  it("is not opened by its header on the callers' own port", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    const answer = await post(b, "/run", run("2"), { "x-kernelyard-hop": "forged" });
    expect(answer.json()).toMatchObject({ stdout: "2" });
    expect(executed(a)).toBe(2);
  });

  it("is not gone through when somebody else answers there", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    // Another one of the same fleet, with a certificate of its own, where the first one was.
    a.hops.close();
    a.hops.closeAllConnections();
    let asked = 0;
    const fake = createHopServer(() => {
      asked += 1;
      return new Response("stolen");
    }, makeCertificate());
    let shaken = 0;
    fake.on("connection", () => {
      shaken += 1;
    });
    fake.listen(Number(a.addr.split(":")[1]), "127.0.0.1");
    await once(fake, "listening");
    const call = b.listening.begin("POST", "/run");
    call.end(JSON.stringify(run("2")));
    await expect.poll(() => shaken).toBeGreaterThan(1);
    expect(asked).toBe(0);
    fake.close();
    fake.closeAllConnections();
    a.hops.listen(Number(a.addr.split(":")[1]), "127.0.0.1");
    // Its own host is there again: the call has waited.
    expect((await reply(call)).status).toBe(200);
    expect(executed(a)).toBe(2);
  });
});

describe("what goes wrong on the way", () => {
  it("a host that is lost costs the next call a wait; its session begins anew elsewhere, and is told so", async () => {
    const [a, b, c] = await hosts(3);
    if (!a || !b || !c) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    await post(b, "/run", run("2"));
    await a.die();
    const answer = (await post(b, "/run", run("3"))).json();
    expect(answer).toMatchObject({ stdout: "3", exit_code: 0 });
    expect(answer.stderr).toContain("the host that had it was lost: variables and files are lost");
    expect((await post(c, "/run", run("4"))).json()).toEqual({ stdout: "4", stderr: "", exit_code: 0 });
    expect(b.launcher.created + c.launcher.created).toBe(1);
  });

  it("a call that ran on a host that is lost is not repeated", async () => {
    const [a, b] = await hosts(2);
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
    };
    const call = post(b, "/run", run("2"));
    await until(() => a.launcher.live.some(({ executing }) => executing !== null));
    await a.die();
    const answer = await call;
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({
      error: "host_lost_during_call",
      message: expect.stringContaining("not repeated"),
    });
    expect(executed(a)).toBe(2);
    expect(b.launcher.created).toBe(0);
  });

  it("a machine that loses its power closes nothing: its calls are given up all the same, and not repeated", async () => {
    const fleet = await newFleet(engine);
    const engineWire = await Wire.to(engine.port);
    const a = await startHost({ url: `redis://127.0.0.1:${engineWire.port}`, fleet, wired: true });
    const b = await startHost({ url: engine.url, fleet });
    await post(a, "/run", run("1"));
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
    };
    const call = post(b, "/run", run("2"));
    await until(() => a.launcher.live.some(({ executing }) => executing !== null));
    a.wire?.freeze();
    engineWire.freeze();
    expect((await call).json()).toMatchObject({ error: "host_lost_during_call" });
    expect((await post(b, "/run", run("3"))).json()).toMatchObject({ stdout: "3" });
    await a.die();
    await engineWire.close();
  });

  it("a reply that breaks off is none: the caller's connection breaks, too", async () => {
    const [a, b] = await hosts(2, { KERNELYARD_KEEP_ALIVE_MS: "20" });
    if (!a || !b) throw new Error("no hosts");
    await post(a, "/run", run("1"));
    a.launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.executing = message.msg_id;
    };
    const call = b.listening.begin("POST", "/run");
    call.end(JSON.stringify(run("2")));
    const [response] = await once(call, "response");
    await once(response, "data");
    await a.die();
    await expect(text(response)).rejects.toThrow();
  });

  it("a host that is cut off from the engine alone stops in time, and what it has of its sessions goes", async () => {
    const fleet = await newFleet(engine);
    const wire = await Wire.to(engine.port);
    const a = await startHost({ url: `redis://127.0.0.1:${wire.port}`, fleet, times: { engineWaitMs: 300 } });
    const b = await startHost({ url: engine.url, fleet });
    await post(a, "/run", run("1"));
    await post(b, "/run", run("2"));
    wire.cut();
    const answer = (await post(b, "/run", run("3"))).json();
    // Asked at its host while the lease lasted, or told why it is new.
    if (executed(a) === 2) expect(answer.stderr).toContain("the host that had it was lost");
    await expect.poll(async () => (await post(a, "/run", run("4"))).json().error).toBe("fleet_unavailable");
    await expect.poll(async () => (await post(b, "/run", run("5"))).json().stdout).toBe("5");
    await expect.poll(() => b.launcher.created).toBe(1);
    const ran = executed(a);
    expect(a.launcher.live).toHaveLength(1);
    wire.mend();
    await expect.poll(() => a.launcher.live.length).toBe(0);
    await expect.poll(() => a.launcher.volumes.size).toBe(0);
    expect((await post(a, "/run", run("6"))).json()).toMatchObject({ stdout: "6", stderr: "" });
    expect(executed(a)).toBe(ran);
    await a.die();
    await wire.close();
  });

  it("an engine that is away is survived by what runs here, until the lease is over", async () => {
    const own = await RedisServer.start();
    const fleet = await newFleet(own);
    const a = await startHost({ url: own.url, fleet, times: { engineWaitMs: 300 } });
    expect((await post(a, "/run", run("1"))).status).toBe(200);
    await own.end();
    expect((await post(a, "/run", run("2"))).status).toBe(200);
    const fresh = { lang: "py", code: "3" };
    await expect.poll(async () => (await post(a, "/run", run("2"))).status).toBe(503);
    const refused = await post(a, "/run", run("4"));
    expect(refused.json()).toMatchObject({ error: "fleet_unavailable" });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect(await a.gateway.scrape?.text()).toContain("kernelyard_fleet_member 0");
    // A call without a session needs nobody.
    expect((await post(a, "/exec", fresh)).status).toBe(200);
    await own.begin();
    await expect.poll(async () => (await post(a, "/run", run("5"))).status).toBe(200);
    await own.dispose();
  });

  it("an engine that lost its data hears again who has what, and nothing is lost", async () => {
    const own = await RedisServer.start();
    const fleet = await newFleet(own);
    const a = await startHost({ url: own.url, fleet });
    const b = await startHost({ url: own.url, fleet });
    await post(a, "/run", run("1"));
    const client = own.client();
    await client.flushall();
    client.disconnect();
    const answer = (await post(b, "/run", run("2"))).json();
    expect(answer).toEqual({ stdout: "2", stderr: "", exit_code: 0 });
    expect([a, b].map((host) => host.launcher.created)).toEqual([1, 0]);
    await Promise.all([a.die(), b.die()]);
    await own.dispose();
  });

  it("a gateway that is started again on its host goes on with the host's sessions", async () => {
    const fleet = await newFleet(engine);
    const a = await startHost({ url: engine.url, fleet });
    const b = await startHost({ url: engine.url, fleet });
    await post(a, "/run", run("1"));
    await post(b, "/run", run("2"));
    await a.die();
    const again = await startHost({ url: engine.url, fleet, launcher: a.launcher, id: a.id });
    expect((await post(b, "/run", run("3"))).json()).toMatchObject({ stdout: "3", stderr: "" });
    expect((await post(again, "/run", run("4"))).json()).toMatchObject({ stdout: "4", stderr: "" });
    expect(a.launcher.created).toBe(1);
    expect(b.launcher.created).toBe(0);
    await again.die();
  });

  it("a host that stops keeps its callers waiting, not failing, while it is started again", async () => {
    const fleet = await newFleet(engine);
    const a = await startHost({ url: engine.url, fleet });
    const b = await startHost({ url: engine.url, fleet });
    await post(a, "/run", run("1"));
    await a.gateway.drain(50);
    const waiting = post(b, "/run", run("2"));
    const refused = () => a.gateway.logLines.filter((line) => line.includes("shutting_down")).length;
    await expect.poll(refused).toBeGreaterThan(2);
    await a.stop();
    const again = await startHost({ url: engine.url, fleet, launcher: a.launcher, id: a.id });
    expect((await waiting).json()).toMatchObject({ stdout: "2", stderr: "" });
    expect(b.launcher.created).toBe(0);
    await again.die();
  });

  it("code is run once, however often its host changes its mind", async () => {
    const [a, b, c] = await hosts(3);
    if (!a || !b || !c) throw new Error("no hosts");
    for (const host of [a, b, c]) host.launcher.script = ECHO;
    const calls = Array.from({ length: 60 }, (_, n) => {
      const host = [a, b, c][n % 3] ?? a;
      return post(host, "/run", run(`call-${n}`, `session-${n % 7}`));
    });
    const answers = await Promise.all(calls);
    expect(answers.map(({ status }) => status)).toEqual(Array(60).fill(200));
    answers.forEach((answer, n) => {
      expect(answer.json().stdout).toBe(`call-${n}`);
    });
    expect([a, b, c].reduce((sum, host) => sum + executed(host), 0)).toBe(60);
    expect([a, b, c].reduce((sum, host) => sum + host.launcher.created, 0)).toBe(7);
  });
});
