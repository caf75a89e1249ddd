import { beforeEach, describe, expect, it } from "vitest";
import { ECHO, type LauncherStandIn } from "../sessions/launcher-stand-in.ts";
import { OTHER_KEY, startBehindStandIn, startGateway, until } from "./gateway-under-test.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  const started = await startBehindStandIn();
  ({ launcher, gateway } = started);
  return started.end;
});

const run = (code: string, session = "s1", headers = {}) =>
  gateway.post("/run", { session_id: session, code }, headers);

describe("POST /run", () => {
  it("runs code in the named session's sandbox and keeps it", async () => {
    const first = await run("one");
    expect(first.status).toBe(200);
    expect(await first.json()).toEqual({ stdout: "one", stderr: "", exit_code: 0 });
    await run("two");
    expect(launcher.created).toBe(1);
    expect(launcher.live[0]?.info.session).toEqual({ kind: "named", tenant: "default", name: "s1" });
  });

  it("keeps tenants apart under the same session id", async () => {
    await run("one");
    await run("two", "s1", { "x-api-key": OTHER_KEY });
    expect(launcher.live.map(({ info }) => info.session)).toEqual([
      { kind: "named", tenant: "default", name: "s1" },
      { kind: "named", tenant: "acme", name: "s1" },
    ]);
  });

  it.each([
    ["an exception", { status: "error", exit_code: 1 }, 1],
    ["sys.exit(3)", { status: "error", exit_code: 3 }, 3],
    ["a segfault", { exit_code: null, signal: "SIGSEGV", reason: "kernel_died", kernel: "restarted" }, 139],
    ["the time limit", { exit_code: null, signal: null, reason: "timeout" }, 124],
    ["memory", { exit_code: null, signal: "SIGKILL", reason: "out_of_memory", kernel: "restarted" }, 137],
  ] as const)("tells %s by its exit code", async (_what, reply, expected) => {
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") sandbox.reply(message.msg_id, reply);
    };
    const response = await run("x");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ exit_code: expected });
  });

  it.each([
    ["{", "The body is not JSON"],
    ["", "The body is empty; send a JSON object"],
    ["[]", "The body must be a JSON object"],
    [{ code: "1" }, "`session_id` is required (string)"],
    [{ session_id: "s" }, "`code` is required (string)"],
    [{ session_id: "s", code: 1 }, "`code` must be of type string"],
  ])("answers 400 to %j", async (body, message) => {
    const response = await gateway.post("/run", body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: "bad_request", message });
  });

  it.each(["../etc", "", ".x", "a/b", "a".repeat(65), "-x", "_x"])(
    "refuses the session id %j",
    async (session_id) => {
      const response = await gateway.post("/run", { session_id, code: "1" });
      expect(response.status).toBe(400);
      expect(await response.text()).toContain("`session_id`");
      expect(launcher.created).toBe(0);
    },
  );

  it("answers 401 without a key and with a wrong one, and 413 beyond 8 MiB", async () => {
    const without = await gateway.app.request("/run", { method: "POST", body: "{}" });
    expect(without.status).toBe(401);
    expect((await run("x", "s1", { "x-api-key": "wrong-key-0123456789" })).status).toBe(401);
    const large = await run("x", "s1", { "content-length": String(9 * 1024 * 1024) });
    expect(large.status).toBe(413);
    expect(await large.json()).toMatchObject({ error: "payload_too_large" });
  });

  it("never logs what the body says", async () => {
    await run("secret-in-code");
    expect(gateway.logLines.join("")).toContain('"path":"/run"');
    expect(gateway.logLines.join("")).not.toContain("secret-in-code");
  });

  it("answers 429 with a time to wait when the host is full", async () => {
    launcher.capacity = 0;
    const response = await run("x");
    expect(response.status).toBe(429);
    expect(await response.json()).toMatchObject({ error: "rate_limited", retry_after_seconds: 2 });
    expect(response.headers.get("retry-after")).toBe("2");
  });

  it("answers 503 while the launcher or the engine is away, and recovers by itself", async () => {
    launcher.refusal = {
      status: 503,
      body: { error: "engine_unavailable", message: "The engine does not answer" },
    };
    expect(await (await run("x")).json()).toEqual({
      error: "engine_unavailable",
      message: "The container engine does not answer; the launcher's log says why",
    });
    launcher.refusal = null;
    await launcher.stop();
    const away = await run("x");
    expect(away.status).toBe(503);
    expect(await away.json()).toMatchObject({ error: "launcher_unavailable" });
    await launcher.start();
    expect((await run("back")).status).toBe(200);
  });

  it("keeps the kernel when the launcher restarts between calls", async () => {
    await run("one");
    await launcher.stop();
    await launcher.start();
    const session = gateway.kernels.registry.session({ kind: "named", tenant: "default", name: "s1" });
    await until(() => !session.attached);
    expect(await (await run("two")).json()).toEqual({ stdout: "two", stderr: "", exit_code: 0 });
    expect(launcher.created).toBe(1);
  });

  it("tells out of memory when the whole sandbox died, and serves the next call", async () => {
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") return;
      sandbox.print(message.msg_id, "so far\n");
      setImmediate(() => sandbox.die({ reason: "out_of_memory", exit_code: 137 }));
    };
    expect(await (await run("big")).json()).toEqual({
      stdout: "so far\n",
      stderr:
        "\n[sandbox] Out of memory\n\n[sandbox] The sandbox is gone: variables are lost, files are kept.\n",
      exit_code: 137,
    });
    launcher.script = ECHO;
    expect(await (await run("next")).json()).toEqual({ stdout: "next", stderr: "", exit_code: 0 });
    expect(launcher.created).toBe(2);
  });

  it("removes a sandbox that lies, and says so in a result", async () => {
    launcher.script = (_message, _body, sandbox) => sandbox.sendRaw(Buffer.from("ffffffff00000000", "hex"));
    expect(await (await run("lie")).json()).toMatchObject({ exit_code: 137 });
    launcher.script = ECHO;
    expect((await run("next")).status).toBe(200);
    expect(launcher.removed).toHaveLength(1);
  });

  it("interrupts the code of a caller who hangs up, and keeps the kernel for the next", async () => {
    let executing = "";
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type === "execute_request") executing = message.msg_id;
      if (message.msg_type !== "interrupt_request") return;
      sandbox.send({ msg_type: "interrupt_reply", parent_id: message.msg_id });
      sandbox.reply(executing, { status: "error", exit_code: 130, reason: "interrupted" });
    };
    const hangUp = new AbortController();
    const call = gateway.post("/run", { session_id: "s1", code: "loop" }, {}, hangUp.signal);
    await until(() => executing !== "");
    hangUp.abort();
    await call;
    launcher.script = ECHO;
    expect(await (await run("next")).json()).toMatchObject({ stdout: "next" });
    expect(launcher.created).toBe(1);
  });

  it("answers 409 when the session stays busy, and frees the place of who hangs up in the queue", async () => {
    gateway.stop();
    gateway = startGateway(launcher.socketPath, {
      KERNELYARD_TIMEOUT_MS: "100",
      KERNELYARD_BUSY_WAIT_MS: "100",
    });
    let release = () => {};
    launcher.script = (message, body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
      release = () => ECHO(message, body, sandbox);
    };
    const first = run("first");
    await until(() => launcher.live.some(({ executing }) => executing !== null));
    const second = await run("second");
    expect(second.status).toBe(409);
    expect(await second.json()).toEqual({
      error: "runtime_session_busy",
      message: expect.stringContaining("The session still ran an earlier call after 0 s of waiting"),
    });
    release();
    expect((await first).status).toBe(200);
  });
});

describe("paths", () => {
  it.each(["/v1/run", "//run", "/v1//run", "//v1//run"])("serves %s", async (path) => {
    expect((await gateway.post(path, { session_id: "s", code: "x" })).status).toBe(200);
  });

  it("answers 404 in the envelope elsewhere", async () => {
    const response = await gateway.app.request("/nowhere");
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({ error: "not_found", message: "There is no GET /nowhere" });
  });
});
