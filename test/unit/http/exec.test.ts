import { beforeEach, describe, expect, it } from "vitest";
import { ECHO, type LauncherStandIn, type Script } from "../sessions/launcher-stand-in.ts";
import { KEY, startBehindStandIn, startGateway } from "./gateway-under-test.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  const started = await startBehindStandIn();
  ({ launcher, gateway } = started);
  return started.end;
});

const exec = (body: Record<string, unknown>, headers = {}) =>
  gateway.post("/exec", { lang: "py", code: "code", ...body }, headers);

describe("POST /exec", () => {
  it("answers in the reference's shape, ignoring what it does not know", async () => {
    const response = await exec({
      user_id: 7,
      session_id: {},
      apiKey: "s",
      codeSessionKey: "k",
      args: ["a"],
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      session_id: expect.stringMatching(/^[A-Za-z0-9_-]{21}$/),
      stdout: "code",
      stderr: "",
      files: [],
      code: 0,
      signal: null,
      message: null,
      status: null,
      wall_time: 1,
    });
    expect(gateway.logLines.join("")).not.toContain('"s"');
  });

  it("passes language, arguments and the time limit, cut to the maximum", async () => {
    const asked = () =>
      [...launcher.sandboxes.values()]
        .at(-1)
        ?.received.find((message) => message.msg_type === "execute_request");
    await exec({ lang: "Python", args: ["x", "y"], timeout: 1500 });
    expect(asked()?.content).toMatchObject({ language: "py", args: ["x", "y"], timeout_ms: 1500 });
    await exec({ lang: "bash", timeout: 9_999_999 });
    expect(asked()?.content).toMatchObject({ language: "bash", timeout_ms: 300_000 });
  });

  it("mints a new session id with each call, also in a runtime session", async () => {
    const ids = new Set<unknown>();
    for (let i = 0; i < 3; i++) {
      const reply: unknown = await (await exec({ runtime_session_hint: "h" })).json();
      expect(reply).toMatchObject({ runtime_session_id: expect.any(String) });
      if (typeof reply === "object" && reply !== null && "session_id" in reply) ids.add(reply.session_id);
    }
    expect(ids.size).toBe(3);
  });

  it.each([
    [{ lang: "cobol" }, "Unsupported language: cobol"],
    [{ lang: "r" }, "Unsupported language: r"],
  ])("answers 400 to %j", async (body, error) => {
    const response = await exec(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error, code: "unsupported_language" });
  });

  it("answers LibreChat's own requests for a language that the image lacks as a shell would", async () => {
    const librechat = { "user-agent": "LibreChat/1.0" };
    const response = await exec({ lang: "Rust", user_id: "u1" }, librechat);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      session_id: expect.stringMatching(/^[A-Za-z0-9_-]{21}$/),
      stdout: "",
      stderr:
        "Rust is not in this sandbox's image, which has Python, Bash. The image's profile `polyglot` has it; whoever runs this service can choose it.\n",
      files: [],
      code: 127,
      signal: null,
      message: null,
      status: null,
      wall_time: 0,
    });
    // What is no language of LibreChat's is a malformed request of its, too.
    for (const lang of ["cobol", "constructor", "__proto__"]) {
      expect((await exec({ lang }, librechat)).status).toBe(400);
    }
  });

  it.each([
    [{ lang: undefined }, "`lang` is required (string)"],
    [{ code: undefined }, "`code` is required (string)"],
    [{ code: ["x"] }, "`code` must be of type string"],
    [{ args: "x" }, "`args` must be of type array"],
    [{ args: [1] }, "`args[0]` must be of type string"],
    [{ args: ["a", "é".repeat(64 * 1024)] }, "`args[1]` exceeds 131071 bytes"],
    [{ args: Array(17).fill("x".repeat(128 * 1024 - 1)) }, "`args` exceeds 2097152 bytes together"],
    [{ timeout: "5" }, "`timeout` must be of type number"],
    [
      { runtime_session_hint: "a b" },
      "`runtime_session_hint` must be 1 to 128 characters of A-Z a-z 0-9 . _ : -",
    ],
    [
      { runtime_session_hint: "" },
      "`runtime_session_hint` must be 1 to 128 characters of A-Z a-z 0-9 . _ : -",
    ],
  ])("answers 400 to %j, naming the field", async (body, message) => {
    const response = await exec(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: "bad_request", message });
    expect(launcher.created).toBe(0);
  });

  it.each([
    [{}, {}, "default"],
    [{ runtime_session_hint: "h" }, {}, "stateful"],
    [{}, { "x-codeapi-expected-profile": "stateful" }, "stateful"],
    [{ runtime_session_hint: "h" }, { "x-codeapi-expected-profile": "default" }, "default"],
  ])("answers %j with %j in profile %s", async (body, headers, profile) => {
    const response = await exec(body, headers);
    expect(response.status).toBe(200);
    expect(response.headers.get("x-codeapi-execution-profile")).toBe(profile);
  });

  it("refuses a profile that does not exist", async () => {
    const response = await exec({}, { "x-codeapi-expected-profile": "gpu" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: "invalid_execution_profile",
      expected_profile: "gpu",
      actual_profile: "default",
    });
  });
});

const RUNS_CANARY: Script = (message, body, sandbox) => {
  expect(body.toString()).toBe("print(6 * 7)");
  ECHO(message, Buffer.from("42\n"), sandbox);
};

describe("GET /health", () => {
  it("executes code at most once for many probes, and needs no key", async () => {
    launcher.script = RUNS_CANARY;
    const replies = await Promise.all(
      ["/health", "/v1/health", "//health"].map((path) => gateway.app.request(path)),
    );
    for (const reply of replies) {
      expect(reply.status).toBe(200);
      expect(await reply.text()).toBe("OK");
    }
    expect(launcher.created).toBe(1);
    const detail = await gateway.app.request("/health?detail", { headers: { "x-api-key": KEY } });
    expect(await detail.json()).toMatchObject({
      status: "ok",
      isolation: "runsc",
      warnings: [],
      engine: { state: "ok", version: "20.10" },
      capacity: 8,
      disk: { total_bytes: 1e12, free_bytes: 5e11, reserve_bytes: 1e10 },
      canary: { ok: true },
    });
    expect(launcher.created).toBe(1);
  });

  it("says when it is the disk that keeps sessions from being awake", async () => {
    launcher.script = RUNS_CANARY;
    launcher.health = { disk_promised: true };
    const detail = await gateway.app.request("/health?detail", { headers: { "x-api-key": KEY } });
    expect(await detail.json()).toMatchObject({
      status: "ok",
      warnings: [expect.stringContaining("KERNELYARD_SESSION_DISK")],
    });
  });

  it("tells strangers the state alone", async () => {
    launcher.script = RUNS_CANARY;
    for (const headers of [{}, { "x-api-key": "somebody-elses-key" }, { authorization: "Bearer x" }]) {
      const detail = await gateway.app.request("/health?detail", { headers });
      expect(await detail.json()).toEqual({ status: "ok" });
    }
  });

  it("is 503 when the code does not do what it should, or nothing can be executed", async () => {
    expect((await gateway.app.request("/health")).status).toBe(503);
    await launcher.stop();
    gateway.stop();
    gateway = startGateway(launcher.socketPath);
    const reply = await gateway.app.request("/health", {
      headers: { accept: "application/json", "x-api-key": KEY },
    });
    expect(reply.status).toBe(503);
    expect(await reply.json()).toMatchObject({
      status: "unhealthy",
      isolation: null,
      engine: { state: "unknown" },
    });
  });
});

describe("a caller who is refused", () => {
  it("hears that alone; the log says why, and never the credential", async () => {
    const wrong = "a-key-that-nobody-knows";
    for (const headers of [{ "x-api-key": wrong }, { "x-api-key": "", authorization: `Bearer ${wrong}` }]) {
      const response = await exec({}, headers);
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({
        error: "Invalid API key",
        message: "Invalid API key",
        code: "unauthorized",
      });
    }
    const reasons = gateway.logLines
      .map((line) => JSON.parse(line))
      .filter(({ status }) => status === 401)
      .map(({ why }) => why);
    expect(reasons).toHaveLength(2);
    for (const why of reasons) expect(why).toContain("no key of KERNELYARD_API_KEYS");
    expect(gateway.logLines.join("")).not.toContain(wrong);
  });
});
