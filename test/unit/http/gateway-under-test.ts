/** The whole gateway in this process, in front of a launcher stand-in. */
import { pino } from "pino";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { assemble, createJsonReader } from "../../../gateway/server/assemble.ts";
import type { AuditSink } from "../../../gateway/server/audit/log.ts";
import type { FileStore } from "../../../gateway/server/files/store.ts";
import type { OpenFleet } from "../../../gateway/server/fleet/load.ts";
import type { WorkspaceObjects } from "../../../gateway/server/fleet/workspaces.ts";
import type { OpenTracing } from "../../../gateway/server/tracing/tracing.ts";
import type { Usage } from "../../../gateway/server/usage/usage.ts";
import { usageInMemory } from "../../support/usage.ts";
import { LauncherStandIn } from "../sessions/launcher-stand-in.ts";

export const KEY = "test-key-0123456789";
export const OTHER_KEY = "other-key-0123456789";

/** For tests that have nothing to do with files: any use of it fails the test. */
const unexpectedUse = () => Promise.reject(new Error("this test did not expect the file store to be used"));
export const NO_FILES: FileStore = {
  stage: unexpectedUse,
  commit: unexpectedUse,
  discard: unexpectedUse,
  find: unexpectedUse,
  list: unexpectedUse,
  open: unexpectedUse,
  // Every execution links its inputs; here it has none.
  link: (links) => (links.length === 0 ? Promise.resolve() : unexpectedUse()),
  remove: unexpectedUse,
  erase: unexpectedUse,
  usage: unexpectedUse,
  sweep: unexpectedUse,
  close: unexpectedUse,
};

export function startGateway(
  launcherSocket: string,
  env: Record<string, string> = {},
  files: FileStore = NO_FILES,
  audit: AuditSink | null = null,
  openFleet: OpenFleet | null = null,
  workspaces: WorkspaceObjects | null = null,
  usage: Usage = usageInMemory(),
  openTracing: OpenTracing | null = null,
) {
  const settings = readSettings({
    KERNELYARD_LAUNCHER_SOCKET: launcherSocket,
    KERNELYARD_AUTH: "api-key",
    KERNELYARD_API_KEYS: `${KEY},acme=${OTHER_KEY}`,
    KERNELYARD_POOL_SIZE: "0",
    KERNELYARD_RATE_LIMITS: "off",
    ...env,
  });
  const logLines: string[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void logLines.push(line) });
  const json = createJsonReader(settings);
  const tracing = openTracing?.(log) ?? null;
  const { app, scrape, console, kernels, executor, fleet, inFlight, drain, close } = assemble({
    settings,
    files,
    json,
    audit,
    usage,
    openFleet,
    workspaces,
    tracing,
    log,
  });
  const stop = () => {
    void close();
    void json.close();
  };
  const post = (path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    app.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": KEY, ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  return { app, scrape, console, post, kernels, executor, fleet, close, inFlight, drain, logLines, stop };
}

/** A launcher's stand-in and a gateway before it. */
export async function startBehindStandIn() {
  const launcher = new LauncherStandIn();
  await launcher.start();
  const gateway = startGateway(launcher.socketPath);
  const end = async () => {
    gateway.stop();
    await launcher.dispose();
  };
  return { launcher, gateway, end };
}

/** Resolves when `condition` holds, checked as the event loop turns; the test's own time-out bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
}
