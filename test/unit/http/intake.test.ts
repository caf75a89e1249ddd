/** What a request may cost is settled before its body is read. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RateLimiter } from "../../../gateway/server/auth/rate-limits.ts";
import { filesApp } from "../../support/files/app.ts";
import { LauncherStandIn } from "../sessions/launcher-stand-in.ts";
import { NO_FILES, OTHER_KEY, startGateway, until } from "./gateway-under-test.ts";
import { type Listening, listen, reply } from "./listening.ts";

const MIB = 1024 * 1024;

const RUN = JSON.stringify({ session_id: "s", code: "1" });

describe("before a body is read", () => {
  it.each([
    ["/exec", "request"],
    ["/exec", "exec"],
    ["/run", "request"],
    ["/exec/programmatic", "request"],
    ["/exec/programmatic/cancel", "request"],
    ["/upload", "request"],
    ["/upload/batch", "upload"],
  ])("the rate of %s is counted (%s)", async (path, usedUp) => {
    const refuses: RateLimiter = {
      forget: () => Promise.reject(new Error("not expected")),
      admit: async (_principal, action) => ({
        allowed: action !== usedUp,
        retryAfterSeconds: 7,
        headers: {},
        message: "later",
      }),
    };
    const unread = new ReadableStream(
      {
        pull: () => {
          throw new Error("the body was read");
        },
      },
      { highWaterMark: 0 },
    );
    const asked: RequestInit & { duplex: "half" } = { method: "POST", body: unread, duplex: "half" };
    const answer = await filesApp(NO_FILES, {}, undefined, refuses).as("tenant")(path, asked);
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toBe("7");
  });
});

describe("before a body is read and while it comes", () => {
  let launcher: LauncherStandIn;
  let gateway: ReturnType<typeof startGateway>;
  let server: Listening;

  beforeEach(async () => {
    launcher = new LauncherStandIn();
    await launcher.start();
  });

  afterEach(async () => {
    await server.close();
    gateway.stop();
    await launcher.dispose();
  });

  async function start(env: Record<string, string> = {}) {
    gateway = startGateway(launcher.socketPath, env);
    server = await listen(gateway);
  }

  it("its declared length is: beyond the limit it is refused", async () => {
    await start();
    for (const [path, limit] of [
      ["/run", 8 * MIB],
      ["/exec", 8 * MIB],
      ["/exec/programmatic", 16 * MIB],
      ["/exec/programmatic/cancel", 16 * 1024],
    ] as const) {
      const call = server.begin("POST", path, { headers: { "content-length": String(limit + 1) } });
      call.flushHeaders();
      const { status, headers, body } = await reply(call);
      expect([status, headers.connection]).toEqual([413, "close"]);
      expect(JSON.parse(body).message).toContain(`${limit} bytes`);
    }
  });

  it("its memory is taken: who holds their share is refused, others are served, and it comes back", async () => {
    await start();
    const large = () => {
      const call = server.begin("POST", "/run", { headers: { "content-length": String(8 * MIB) } });
      call.write("{");
      return call;
    };
    const held = [large(), large(), large()];
    await until(() => gateway.inFlight.count === 3);
    const { status, body } = await reply(large());
    expect([status, JSON.parse(body)]).toEqual([
      429,
      expect.objectContaining({
        error: "rate_limited",
        message: expect.stringContaining("KERNELYARD_GATEWAY_MEMORY"),
        retry_after_seconds: 2,
      }),
    ]);
    const other = server.begin("POST", "/run", { headers: { "x-api-key": OTHER_KEY } });
    other.end(RUN);
    expect((await reply(other)).status).toBe(200);
    for (const call of held) call.destroy();
    await until(() => gateway.inFlight.count === 0);
    const again = large();
    again.end(`${RUN.slice(1)}${" ".repeat(8 * MIB - RUN.length)}`);
    expect((await reply(again)).status).toBe(200);
  });

  it("a body without a length is bounded all the same", async () => {
    await start();
    const call = server.begin("POST", "/run");
    const block = Buffer.alloc(MIB, " ");
    for (let i = 0; i < 9; i++) call.write(block);
    const { status, headers } = await reply(call);
    expect([status, headers.connection]).toEqual([413, "close"]);
    expect(launcher.created).toBe(0);
  });

  it("a body that breaks off leaves nothing", async () => {
    await start();
    const call = server.begin("POST", "/run", { headers: { "content-length": String(MIB) } });
    call.write("{");
    await until(() => gateway.inFlight.count === 1);
    call.destroy();
    await until(() => gateway.inFlight.count === 0);
    expect(launcher.created).toBe(0);
  });

  it("one caller's requests in progress are bounded", async () => {
    await start();
    launcher.script = () => {};
    const calls = Array.from({ length: 768 }, () => gateway.post("/run", RUN));
    await until(() => gateway.inFlight.count === 768);
    const refused = await gateway.post("/run", RUN);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: "rate_limited", retry_after_seconds: 1 });
    await launcher.stop();
    await Promise.all(calls);
  });
});

describe("where nobody has to prove who they are", () => {
  let launcher: LauncherStandIn;
  let gateway: ReturnType<typeof startGateway>;
  beforeEach(async () => {
    launcher = new LauncherStandIn();
    await launcher.start();
    return () => launcher.dispose();
  });
  afterEach(() => gateway.stop());

  // What a page may send to any address without asking: https://fetch.spec.whatwg.org/#cors-safelisted-request-header
  it.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])(
    "code that comes as %j is not run",
    async (type) => {
      gateway = startGateway(launcher.socketPath, { KERNELYARD_AUTH: "none", KERNELYARD_API_KEYS: "" });
      for (const path of ["/run", "/exec", "/exec/programmatic"]) {
        const answer = await gateway.post(path, RUN, { "content-type": type });
        expect(answer.status).toBe(400);
        expect(await answer.json()).toMatchObject({ message: "`Content-Type` must be application/json" });
      }
      expect(launcher.created).toBe(0);
      expect(
        (await gateway.post("/run", RUN, { "content-type": "application/json; charset=utf-8" })).status,
      ).toBe(200);
    },
  );

  it("a key is proof enough, whatever the type", async () => {
    gateway = startGateway(launcher.socketPath);
    expect((await gateway.post("/run", RUN, { "content-type": "text/plain" })).status).toBe(200);
  });
});

it("an error that nobody expected is logged without its message, which may quote a body", async () => {
  const launcher = new LauncherStandIn();
  await launcher.start();
  const gateway = startGateway(launcher.socketPath);
  gateway.executor.execute = () => Promise.reject(new Error("secret-in-a-body\n    at secret-place"));
  expect((await gateway.post("/run", RUN)).status).toBe(500);
  const told = gateway.logLines.join("");
  expect(told).toContain("unexpected error");
  expect(told).toMatch(/intake\.test\.ts:\d+:\d+/);
  expect(told).not.toContain("secret");
  gateway.stop();
  await launcher.dispose();
});
