/** The gateway's process: settings, privileges, listening, and an orderly end. */
import { Server } from "node:http";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAdaptorServer } from "@hono/node-server";
import type { Logger } from "pino";
import { longestAnswerMs, readSettings, type Settings, SettingsError } from "../common/settings/read.ts";
import { drainMs, putAwayMs, stopWithinMs } from "../common/stopping.ts";
import { assemble, createJsonReader, type Gateway } from "./assemble.ts";
import { loadAuditCopy, type OpenAuditCopy } from "./audit/copy/load.ts";
import { AuditLog } from "./audit/log.ts";
import { createConsoleServer } from "./console/console.ts";
import { loadStores } from "./files/load-store.ts";
import { FileStoreError } from "./files/store.ts";
import { FleetError } from "./fleet/fleet.ts";
import { loadFleet } from "./fleet/load.ts";
import { createHopServer } from "./http/hop-server.ts";
import { guardConnections } from "./http/intake/connections.ts";
import { openLog } from "./log.ts";
import { createMetricsServer } from "./metrics/listener.ts";
import { dropPrivileges, PrivilegesError } from "./privileges.ts";
import { loadTracing } from "./tracing/load.ts";
import { Usage } from "./usage/usage.ts";

/** Receiving a whole request; large uploads over slow links. Answers may take as long as the code does. */
const REQUEST_TIMEOUT_MS = 600_000;
const TIMEOUTS_CHECKED_EVERY_MS = 5_000;
/** Idle connections are kept longer than a load balancer keeps its own, which outlive the longest answer: it must never
 * send into a closing connection. */
const KEEP_ALIVE_BEYOND_ANSWER_MS = 120_000;
const HOPS_CLOSE_WITHIN_MS = 1_000;
/** The audit log's last entries, into their bucket. */
const AUDIT_COPIED_WITHIN_MS = 20_000;
/** Before whoever stops it has had enough. */
const ENDS_BEFORE_MS = 3_000;

async function start(): Promise<void> {
  const { values } = parseArgs({ options: { user: { type: "string" } } });
  const settings = readSettings(process.env);
  process.umask(0o077);
  const { openFiles, workspaces } = await loadStores(settings);
  const json = createJsonReader(settings);
  await json.start();
  const openFleet = await loadFleet(settings);
  const openAuditCopy = await loadAuditCopy(settings);
  const openTracing = await loadTracing(settings);
  dropPrivileges(values.user ?? null);

  const { exit, log } = openLog(settings.logLevel);

  const usage = openUsage(settings, log);
  const files = await openFiles(
    (error) => log.error({ err: error }, "the sweep of files failed"),
    (tenant, bytes) => usage.add(tenant, { stored_bytes: bytes }),
  );
  const audit = openAuditLog(settings, openAuditCopy, log);
  const tracing = openTracing?.(log) ?? null;
  const gateway = assemble({ settings, files, json, audit, usage, openFleet, workspaces, tracing, log });
  const server = createAdaptorServer({
    fetch: gateway.app.fetch,
    serverOptions: {
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUTS_CHECKED_EVERY_MS,
      keepAliveTimeout: longestAnswerMs(settings) + KEEP_ALIVE_BEYOND_ANSWER_MS,
      noDelay: true,
    },
  });
  if (!(server instanceof Server)) throw new Error("the server is none of HTTP/1.1");
  guardConnections(server);

  const metrics = serveMetrics(gateway, settings, log);
  const operators = serveConsole(gateway, settings, log);
  const hops = await joinFleet(gateway);

  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    const endsAt = performance.now() + stopWithinMs(settings.timeoutMaxMs) - ENDS_BEFORE_MS;
    const { executor, inFlight } = gateway;
    log.info({ why, running: executor.running, requests: inFlight.count }, "stopping");
    // It listens on: who comes now hears why, and programs that wait for their tools can be continued.
    await gateway.drain(drainMs(settings.timeoutMaxMs));
    server.close();
    await closed(hops);
    metrics?.close();
    operators?.close();
    operators?.closeAllConnections();
    await gateway.close();
    await files.close();
    await audit?.close(Math.max(0, Math.min(AUDIT_COPIED_WITHIN_MS, endsAt - performance.now())));
    await usage.close();
    await tracing?.close();
    await json.close();
    log.info({ unfinished: executor.running, requests: inFlight.count }, "stopped");
    exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  process.on("SIGUSR2", () => void drainHost(gateway, settings, log));
  // The starter is gone, however it went.
  process.on("disconnect", () => void stop("the starter is gone"));

  server.on("error", (error) => {
    log.fatal(
      { err: error },
      `cannot listen on ${settings.host}:${settings.port}: change KERNELYARD_HOST or KERNELYARD_PORT`,
    );
    exit(1);
  });
  server.listen(settings.port, settings.host, () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : settings.port;
    log.info({ host: settings.host, port, pid: process.pid, auth: settings.auth }, "ready");
    void gateway.kernels.start();
  });
}

function openUsage({ dataDir }: Settings, log: Logger): Usage {
  return new Usage({
    path: join(dataDir, "gateway", "usage.json"),
    now: Date.now,
    onProblem: (problem) => {
      if (problem === null) log.info("counts of usage are kept again");
      else log.error({ problem }, "usage");
    },
  });
}

/** Null: there is none. */
function openAuditLog(
  { auditBytes, auditDays, dataDir }: Settings,
  openCopy: OpenAuditCopy | null,
  log: Logger,
): AuditLog | null {
  if (auditDays === 0) return null;
  const directory = join(dataDir, "gateway", "audit");
  return new AuditLog({
    directory,
    copy: openCopy?.(directory, log) ?? null,
    keepDays: auditDays,
    maxBytes: auditBytes,
    now: Date.now,
    onProblem: (problem) => {
      if (problem === null) log.info("the audit log is written again");
      else log.error({ problem }, "audit log");
    },
  });
}

/** What the others still wait for is answered; a host that does not read keeps nobody. */
async function closed(hops: ReturnType<typeof createHopServer> | null): Promise<void> {
  if (hops === null) return;
  const late = new Promise<void>((resolve) => setTimeout(resolve, HOPS_CLOSE_WITHIN_MS).unref());
  await Promise.race([new Promise<void>((resolve) => hops.close(() => resolve())), late]);
}

/** The operator, or whoever ends the machine, asks for it; the service goes on until it is stopped. */
async function drainHost({ fleet }: Gateway, settings: Settings, log: Logger): Promise<void> {
  if (fleet === null) log.warn("asked to put sessions away, and there is no other host to have them");
  else await fleet.drain(putAwayMs(settings.timeoutMaxMs));
}

/** Listens for the other hosts, then joins them. Null: this host is alone. Rejects with `FleetError`. */
async function joinFleet({ app, fleet }: Gateway): Promise<ReturnType<typeof createHopServer> | null> {
  if (fleet === null) return null;
  const server = createHopServer(app.fetch, fleet.certificate);
  const { hostname, port } = new URL(`https://${fleet.addr}`);
  const ours = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === hostname),
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new FleetError(
          `cannot listen on ${fleet.addr} for other hosts: ${error.message}; change KERNELYARD_FLEET_ADDRESS`,
        ),
      ),
    );
    // A name, or an address that the network translates, is on no interface of this machine.
    server.listen(Number(port), ours ? hostname : undefined, resolve);
  });
  await fleet.start();
  return server;
}

/** Null: they are off. Whoever cannot listen says so and serves on: executing code does not depend on being watched. */
function serveMetrics({ scrape }: Gateway, settings: Settings, log: Logger): Server | null {
  if (scrape === null || settings.metricsPort === 0) return null;
  const { metricsHost: host, metricsPort: port } = settings;
  const server = createMetricsServer(scrape, (error) => log.error({ err: error }, "metrics not read"));
  server.on("error", (error) => {
    const remedy = "change KERNELYARD_METRICS_HOST or KERNELYARD_METRICS_PORT, 0 turns metrics off";
    log.error({ err: error }, `no metrics: cannot listen on ${host}:${port}; ${remedy}`);
  });
  server.listen(port, host, () => log.info({ host, port }, "metrics"));
  return server;
}

/** Null: there is none. Likewise: code is executed without it. */
function serveConsole(gateway: Gateway, settings: Settings, log: Logger): Server | null {
  if (gateway.console === null) return null;
  const { consoleHost: host, consolePort: port } = settings;
  const server = createConsoleServer(gateway.console);
  server.on("error", (error) => {
    const remedy = "change KERNELYARD_CONSOLE_HOST or KERNELYARD_CONSOLE_PORT, 0 turns the console off";
    log.error({ err: error }, `no console: cannot listen on ${host}:${port}; ${remedy}`);
  });
  server.listen(port, host, () => log.info({ host, port }, "console"));
  gateway.console.start();
  return server;
}

try {
  await start();
} catch (error) {
  const known =
    error instanceof SettingsError ||
    error instanceof PrivilegesError ||
    error instanceof FileStoreError ||
    error instanceof FleetError;
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
