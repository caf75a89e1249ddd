/** Traces reach a collector over OTLP/HTTP; where none is set nothing of OpenTelemetry is in memory. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { z } from "zod";
import { loadTracing } from "../../../gateway/server/tracing/load.ts";
import { usageInMemory } from "../../support/usage.ts";
import { KEY, NO_FILES, startGateway } from "../http/gateway-under-test.ts";
import { LauncherStandIn } from "../sessions/launcher-stand-in.ts";

const Attribute = z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) });
const Exported = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: z.array(Attribute) }),
      scopeSpans: z.array(
        z.object({
          spans: z.array(
            z.object({
              traceId: z.string(),
              spanId: z.string(),
              parentSpanId: z.string().optional(),
              name: z.string(),
              attributes: z.array(Attribute),
            }),
          ),
        }),
      ),
    }),
  ),
});

async function collector() {
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    if (request.url === "/v1/traces" && request.method === "POST") bodies.push(await text(request));
    else response.statusCode = 404;
    response.setHeader("content-type", "application/json").end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { bodies, server, url: `http://127.0.0.1:${port}` };
}

/** `close` sends what is not sent yet. */
async function tracedGateway(launcher: LauncherStandIn, url: string) {
  const open = await loadTracing({ otlpEndpoint: url });
  let end = async () => {};
  const gateway = startGateway(
    launcher.socketPath,
    {},
    NO_FILES,
    null,
    null,
    null,
    usageInMemory(),
    (log) => {
      if (open === null) throw new Error("not loaded");
      const tracing = open(log);
      end = () => tracing.close();
      return tracing;
    },
  );
  return { gateway, close: () => end() };
}

it("a request's span is below its caller's, a call's below it; the log line names it, and no id is in it", async () => {
  const { bodies, server, url } = await collector();
  const launcher = new LauncherStandIn();
  await launcher.start();
  const { close, gateway } = await tracedGateway(launcher, url);
  const [trace, caller] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const answer = await gateway.post(
    "/v1/run?secret=query",
    { session_id: "secret-session", code: "secret()" },
    { traceparent: `00-${trace}-${caller}-01` },
  );
  expect(answer.status).toBe(200);
  await gateway.app.request("/v1/runtime-sessions/secret-id", { headers: { "x-api-key": KEY } });
  await close();
  const spans = bodies.flatMap((body) =>
    Exported.parse(JSON.parse(body)).resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap((scope) => scope.spans),
    ),
  );
  const request = spans.find(({ name }) => name === "POST /run");
  const call = spans.find(({ name }) => name === "execute");
  expect(request).toMatchObject({ traceId: trace, parentSpanId: caller });
  expect(call).toMatchObject({ traceId: trace, parentSpanId: request?.spanId });
  expect(call?.attributes).toContainEqual({ key: "kernelyard.outcome", value: { stringValue: "finished" } });
  expect(spans.map(({ name }) => name)).toContain("GET /runtime-sessions/{session}");
  expect(bodies.join()).not.toContain("secret");
  const line = gateway.logLines.find((one) => one.includes('"path":"/run"'));
  expect(JSON.parse(line ?? "{}")).toMatchObject({ traceparent: `00-${trace}-${request?.spanId}-01` });
  gateway.stop();
  await launcher.dispose();
  server.close();
});

it("a collector that is not there costs no call, and is in the log", async () => {
  const { server, url } = await collector();
  server.close();
  const launcher = new LauncherStandIn();
  await launcher.start();
  const { close, gateway } = await tracedGateway(launcher, url);
  expect((await gateway.post("/v1/run", { session_id: "a", code: "1" })).status).toBe(200);
  await close();
  expect(gateway.logLines.filter((line) => line.includes('"msg":"traces"'))).not.toEqual([]);
  gateway.stop();
  await launcher.dispose();
});

const PROGRAM = `
  import { registerHooks } from "node:module";
  const seen = new Set();
  registerHooks({
    load(url, context, next) {
      const [, name] = /node_modules\\/((?:@opentelemetry|@hono)\\/[a-z-]+)/.exec(url) ?? [];
      if (name !== undefined) seen.add(name);
      return next(url, context);
    },
  });
  const { readSettings } = await import("./gateway/common/settings/read.ts");
  const { assemble } = await import("./gateway/server/assemble.ts");
  const { loadTracing } = await import("./gateway/server/tracing/load.ts");
  const open = await loadTracing(readSettings({ KERNELYARD_AUTH: "none", ...JSON.parse(process.argv[1]) }));
  const traces = [...seen].filter((name) => name.startsWith("@opentelemetry/") || name === "@hono/otel").sort();
  console.log(JSON.stringify({ open: typeof open, assemble: typeof assemble, others: seen.has("@hono/zod-openapi"), traces }));
  process.exit(0);
`;

function loaded(env: Record<string, string>): unknown {
  const args = ["--input-type=module", "-e", PROGRAM, JSON.stringify(env)];
  return JSON.parse(
    execFileSync(process.execPath, args, {
      cwd: join(import.meta.dirname, "../../.."),
      encoding: "utf8",
      env: {},
    }),
  );
}

it("without a collector nothing of OpenTelemetry that does anything is in memory", () => {
  // prom-client has the interface, which does nothing, for exemplars.
  const traces = ["@opentelemetry/api"];
  expect(loaded({})).toEqual({ open: "object", assemble: "function", others: true, traces });
  const { traces: all } = z
    .looseObject({ traces: z.array(z.string()) })
    .parse(loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" }));
  expect(all).toEqual(expect.arrayContaining(["@hono/otel", "@opentelemetry/sdk-trace-base"]));
});
