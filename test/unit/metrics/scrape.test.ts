/** What a scrape says of a gateway that works; the launcher and its sandboxes are stand-ins. */
import { once } from "node:events";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createMetricsServer } from "../../../gateway/server/metrics/listener.ts";
import { METRICS } from "../../../gateway/server/metrics/table.ts";
import { startGateway } from "../http/gateway-under-test.ts";
import { LauncherStandIn, type Script } from "../sessions/launcher-stand-in.ts";

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  gateway = startGateway(launcher.socketPath, { KERNELYARD_METRICS_PORT: "3113" });
  return async () => {
    gateway.stop();
    await launcher.dispose();
  };
});

async function scrape(): Promise<string> {
  if (gateway.scrape === null) throw new Error("metrics are off");
  return gateway.scrape.text();
}

/** The sample's value; null when there is none. */
function sample(text: string, series: string): number | null {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}

const run = (code: string, session = "s1") => gateway.post("/run", { session_id: session, code });

/** Replies as the code says: the reply's content as JSON. */
const AS_TOLD: Script = (message, body, sandbox) => {
  if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
  sandbox.reply(message.msg_id, JSON.parse(body.toString()));
};

describe("a scrape", () => {
  it("has every metric of the table", async () => {
    const text = await scrape();
    for (const [name, { kind, help }] of Object.entries(METRICS)) {
      expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`);
    }
  });

  it("counts requests by route template, whatever the path's prefix and ids", async () => {
    await run("1");
    await gateway.post("/v1/run", { session_id: "s1" });
    await gateway.app.request("/v1/files/abc", { headers: { "x-api-key": "wrong" } });
    await gateway.app.request("/no/such/place", { method: "GET" });
    await gateway.app.request("/run", { method: "BREW" });
    const text = await scrape();
    const requests = (method: string, path: string, status: number) =>
      sample(text, `http_requests_total{method="${method}",path="${path}",status="${status}"}`);
    expect(requests("POST", "/run", 200)).toBe(1);
    expect(requests("POST", "/run", 400)).toBe(1);
    expect(requests("GET", "/files/{session_id}", 401)).toBe(1);
    expect(requests("GET", "unmatched", 404)).toBe(1);
    expect(requests("OTHER", "unmatched", 404)).toBe(1);
    const duration = 'http_request_duration_seconds_count{method="POST",path="/run",status="200"}';
    expect(sample(text, duration)).toBe(1);
  });

  it("counts executions by language and outcome, and what became of kernels", async () => {
    launcher.script = AS_TOLD;
    const told = (content: object, session?: string) => run(JSON.stringify(content), session);
    await told({});
    await told({});
    await told({ status: "error", exit_code: 1 });
    await told({ exit_code: null, reason: "timeout", kernel: "restarted" });
    await told({ exit_code: null, signal: "SIGKILL", reason: "out_of_memory", kernel: "restarted" });
    await gateway.post("/exec", { lang: "klingon", code: "1" });
    const text = await scrape();
    const executions = (language: string, outcome: string) =>
      sample(text, `kernelyard_executions_total{language="${language}",outcome="${outcome}"}`);
    expect(executions("py", "completed")).toBe(2);
    expect(executions("py", "failed")).toBe(1);
    expect(executions("py", "timeout")).toBe(1);
    expect(executions("other", "unsupported_language")).toBe(1);
    expect(text).not.toContain("klingon");
    expect(sample(text, 'kernelyard_kernel_starts_total{kind="session"}')).toBe(1);
    expect(sample(text, 'kernelyard_kernel_restarts_total{reason="out_of_memory"}')).toBe(1);
    expect(sample(text, 'kernelyard_kernel_restarts_total{reason="timeout"}')).toBe(1);
    expect(sample(text, "kernelyard_queue_wait_seconds_count")).toBe(5);
    expect(sample(text, "kernelyard_sessions_live")).toBe(1);
    expect(sample(text, "kernelyard_places_busy")).toBe(0);
  });

  it("counts variables that went between two calls, with the reason", async () => {
    await run("1");
    expect(sample(await scrape(), 'kernelyard_kernel_losses_total{reason="out_of_memory"}')).toBe(0);
    launcher.live[0]?.die({ reason: "out_of_memory", exit_code: 137 });
    await run("2");
    expect(sample(await scrape(), 'kernelyard_kernel_losses_total{reason="out_of_memory"}')).toBe(1);
  });

  it("has the launcher's figures, and says when it is away", async () => {
    const text = await scrape();
    expect(sample(text, "kernelyard_launcher_up")).toBe(1);
    expect(sample(text, "kernelyard_places_capacity")).toBe(8);
    expect(sample(text, 'kernelyard_sandbox_ends_total{kind="session",reason="out_of_memory"}')).toBe(2);
    expect(sample(text, 'kernelyard_sandbox_ends_total{kind="fresh",reason="expired"}')).toBe(0);
    const calls = 'kernelyard_engine_calls_total{operation="create_container",outcome="ok"}';
    expect(sample(text, calls)).toBe(3);
    expect(sample(text, 'kernelyard_open_descriptors{process="launcher"}')).toBe(40);
    expect(sample(text, 'kernelyard_open_descriptors{process="gateway"}')).toBeGreaterThan(3);
    await launcher.stop();
    const away = await scrape();
    expect(sample(away, "kernelyard_launcher_up")).toBe(0);
    expect(sample(away, "kernelyard_engine_up")).toBe(0);
    expect(sample(away, "kernelyard_places_capacity")).toBeNull();
    // A count that fell to 0 would look like a restart.
    expect(sample(away, calls)).toBe(3);
  });

  it("tells sandboxes that nobody answers for", async () => {
    launcher.add({
      kind: "session",
      profile: "default",
      session: { kind: "runtime", digest: "x".repeat(21) },
    });
    await run("1");
    expect(sample(await scrape(), "kernelyard_sandboxes_unowned")).toBe(1);
  });

  it("proves that code is executed although nobody asks for its health, and waits for nothing", async () => {
    launcher.script = (message, _body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
      sandbox.print(message.msg_id, "42\n");
      sandbox.reply(message.msg_id);
    };
    expect(sample(await scrape(), "kernelyard_canary_ok")).toBe(0);
    while (sample(await scrape(), "kernelyard_canary_ok") !== 1);
    // The service's own check is no caller's call.
    expect(await scrape()).not.toContain("kernelyard_executions_total{");
  });

  it("names no user, tenant, session or file", async () => {
    const session = "s3cret-session";
    await run("1", session);
    await gateway.post("/exec", {
      lang: "py",
      code: "1",
      user_id: "s3cret-user",
      runtime_session_hint: "s3cret",
    });
    await gateway.app.request("/download/s3cretsession12345678/s3cretfile12345678901", {
      headers: { "x-api-key": "s3cret" },
    });
    await gateway.app.request("/s3cret");
    const text = await scrape();
    expect(text).toContain("/download/{session_id}/{file_id}");
    expect(text).not.toContain("s3cret");
    expect(text).not.toContain("acme");
  });
});

it("is off with port 0: nothing is counted", () => {
  const off = startGateway(launcher.socketPath, { KERNELYARD_METRICS_PORT: "0" });
  onTestFinished(off.stop);
  expect(off.scrape).toBeNull();
});

it("is served at /metrics alone, to GET alone", async () => {
  if (gateway.scrape === null) throw new Error("metrics are off");
  const server = createMetricsServer(gateway.scrape, (error) => expect.unreachable(String(error)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  const response = await fetch(`${base}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await response.text()).toContain("kernelyard_info{");
  expect((await fetch(`${base}/metrics`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${base}/run`)).status).toBe(404);
});
