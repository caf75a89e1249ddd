/** The gateway's process: settings, privileges, listening, and an orderly end. */
import { parseArgs } from "node:util";
import { createAdaptorServer } from "@hono/node-server";
import { pino } from "pino";
import { longestAnswerMs, readSettings, SettingsError } from "../common/settings/read.ts";
import { assemble } from "./assemble.ts";
import { loadFileStore } from "./files/load-store.ts";
import { FileStoreError } from "./files/store.ts";
import { dropPrivileges, PrivilegesError } from "./privileges.ts";

/** Calls that run when the end is asked for finish first, the longest ones too; who asked may be less patient. */
const DRAIN_BEYOND_CALL_MS = 10_000;
/** Receiving a whole request; large uploads over slow links. Answers may take as long as the code does. */
const REQUEST_TIMEOUT_MS = 600_000;
const HEADERS_TIMEOUT_MS = 60_000;
/** Idle connections are kept longer than a load balancer keeps its own, which outlive the longest answer: it must never
 * send into a closing connection. */
const KEEP_ALIVE_BEYOND_ANSWER_MS = 120_000;

async function start(): Promise<void> {
  const { values } = parseArgs({ options: { user: { type: "string" } } });
  const settings = readSettings(process.env);
  process.umask(0o077);
  const openFiles = await loadFileStore(settings);
  dropPrivileges(values.user ?? null);

  const destination = pino.destination({ dest: 1, sync: false });
  const log = pino({ level: settings.logLevel, base: { service: "gateway" } }, destination);

  const files = await openFiles((error) => log.error({ err: error }, "the sweep of files failed"));
  const gateway = assemble({ settings, files, log });
  const server = createAdaptorServer({
    fetch: gateway.app.fetch,
    serverOptions: {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: longestAnswerMs(settings) + KEEP_ALIVE_BEYOND_ANSWER_MS,
      noDelay: true,
    },
  });

  const finish = (code: number) => destination.flush(() => process.exit(code));
  let stopping = false;
  const stop = async (why: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ why, running: gateway.executor.running }, "stopping");
    server.close();
    await gateway.drain(settings.timeoutMaxMs + DRAIN_BEYOND_CALL_MS);
    gateway.close();
    await files.close();
    log.info({ unfinished: gateway.executor.running }, "stopped");
    finish(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  // The starter is gone, however it went.
  process.on("disconnect", () => void stop("the starter is gone"));

  server.on("error", (error) => {
    log.fatal(
      { err: error },
      `cannot listen on ${settings.host}:${settings.port}: change KERNELYARD_HOST or KERNELYARD_PORT`,
    );
    finish(1);
  });
  server.listen(settings.port, settings.host, () => {
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : settings.port;
    log.info({ host: settings.host, port, pid: process.pid, auth: settings.auth }, "ready");
    void gateway.kernels.start();
  });
}

try {
  await start();
} catch (error) {
  const known =
    error instanceof SettingsError || error instanceof PrivilegesError || error instanceof FileStoreError;
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
