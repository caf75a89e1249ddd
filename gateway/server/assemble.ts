/** The gateway's parts put together. Nothing here reads the environment, listens, or ends a process. */
import { availableParallelism } from "node:os";
import type { Logger } from "pino";
import { gatewayMemory } from "../common/gateway-memory.ts";
import { LauncherClient } from "../common/protocol/launcher-client.ts";
import type { Settings } from "../common/settings/read.ts";
import type { AuditSink } from "./audit/log.ts";
import { createAuthentication } from "./auth/authenticate.ts";
import { OperatorKey } from "./auth/operator.ts";
import { createRateLimiter } from "./auth/rate-limits.ts";
import { SharedLimiter } from "./auth/shared-limiter.ts";
import { JsonReader } from "./bounds/json-reader.ts";
import { MemoryBudget } from "./bounds/memory.ts";
import { Console, consoleKey } from "./console/console.ts";
import { LastOutcomes } from "./console/last-outcomes.ts";
import { Erasure } from "./erasure/erasure.ts";
import { Canary } from "./execution/canary.ts";
import { Execution } from "./execution/execute.ts";
import { Programs } from "./execution/programs/programs.ts";
import type { ProgramReply } from "./execution/programs/run-program.ts";
import { TOOL_CALLS } from "./execution/programs/tool-calls.ts";
import type { FileStore } from "./files/store.ts";
import type { Fleet } from "./fleet/fleet.ts";
import type { OpenFleet } from "./fleet/load.ts";
import type { WorkspaceObjects } from "./fleet/workspaces.ts";
import { createApp } from "./http/app.ts";
import { InFlight } from "./http/in-flight.ts";
import { CANCEL_BODY } from "./http/requests/cancel.ts";
import { ERASE_BODY } from "./http/requests/erase.ts";
import { EXEC_BODY } from "./http/requests/exec.ts";
import { PROGRAMMATIC_BODY } from "./http/requests/programmatic.ts";
import { RUN_BODY } from "./http/requests/run.ts";
import { measured } from "./metrics/executions.ts";
import { Metrics } from "./metrics/metrics.ts";
import { countRequest } from "./metrics/requests.ts";
import { Scrape } from "./metrics/scrape.ts";
import { Kernels } from "./sessions/kernels.ts";
import { sessionDigest } from "./sessions/session-key.ts";
import type { Tracing } from "./tracing/tracing.ts";
import { metered } from "./usage/metered.ts";
import type { Usage } from "./usage/usage.ts";

/** A program that waits for its tools when the service stops has this long to be continued. */
const PROGRAM_GRACE_MS = 30_000;

export interface GatewayParts {
  readonly settings: Settings;
  /** Stays its opener's to close, after `close`. */
  readonly files: FileStore;
  /** Likewise; see `createJsonReader`. */
  readonly json: JsonReader;
  /** Likewise; null: there is none. */
  readonly audit: AuditSink | null;
  /** Likewise. */
  readonly usage: Usage;
  /** Null: this host is alone. */
  readonly openFleet: OpenFleet | null;
  /** Where the fleet's sessions have their files saved; null: nowhere. Likewise. */
  readonly workspaces: WorkspaceObjects | null;
  /** Null: there are no traces. Likewise. */
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

export interface Gateway {
  readonly app: ReturnType<typeof createApp>;
  readonly executor: Execution;
  readonly inFlight: InFlight;
  readonly kernels: Kernels;
  /** Null: this host is alone. To be started by whoever listens for the others. */
  readonly fleet: Fleet | null;
  /** Null: nobody looks at figures. */
  readonly scrape: Scrape | null;
  /** Null: there is none. To be started by whoever listens for it. */
  readonly console: Console | null;
  /**
   * Refuses what is new; resolves when the last response is out, no program waits for its tools any more, and a fleet has its sessions'
   * files, or after `withinMs`.
   */
  drain(withinMs: number): Promise<void>;
  /** Lets go of the launcher. The sandboxes are the launcher's: the next gateway finds them there. */
  close(): Promise<void>;
}

/** Reads all the JSON that comes from outside. To be started before privileges are dropped. */
export function createJsonReader(settings: Pick<Settings, "gatewayMemoryBytes">): JsonReader {
  return new JsonReader({
    kinds: [RUN_BODY, EXEC_BODY, PROGRAMMATIC_BODY, CANCEL_BODY, ERASE_BODY, TOOL_CALLS],
    heapMib: gatewayMemory(settings.gatewayMemoryBytes).jsonHeapMib,
  });
}

/** Throws `SettingsError` when the keys that callers are known by cannot be used. */
export function assemble({
  settings,
  files,
  json,
  audit,
  usage,
  openFleet,
  workspaces,
  tracing,
  log,
}: GatewayParts): Gateway {
  const launcher = new LauncherClient(settings.launcherSocket);
  const concurrency = Math.max(2, availableParallelism());
  const memory = new MemoryBudget(gatewayMemory(settings.gatewayMemoryBytes).requestBytes);
  const operatorKey = consoleKey(settings);
  const metrics = settings.metricsPort === 0 && operatorKey === null ? null : new Metrics();
  const kernels = new Kernels({
    settings,
    launcher,
    concurrency,
    onLoss: (reason) => metrics?.add("kernelyard_kernel_losses_total", { reason }),
    log,
  });
  const executor = new Execution({ settings, kernels });
  const inFlight = new InFlight();
  const { travelling: sessions } = kernels;
  const fleet = openFleet?.({ sessions, objects: workspaces, digestOf: sessionDigest, log }) ?? null;
  const programs = new Programs<ProgramReply>({ json, memory, host: fleet?.host ?? null });
  const canary = new Canary({ executor, launcher, full: () => kernels.full, log });
  const outcomes = operatorKey === null ? null : new LastOutcomes();
  const counted = metered(metrics === null ? executor : measured(executor, metrics), usage);
  const watched = tracing?.watch(counted) ?? counted;
  const rateLimiter = createRateLimiter(
    settings.rateLimits,
    fleet === null ? null : (name, window) => new SharedLimiter(name, window, fleet.limits),
  );
  const erasure = new Erasure({
    registry: kernels.registry,
    launcher,
    files,
    programs,
    rateLimiter,
    audit,
    auditErased: settings.auditErased,
    usage,
    onForgotten: async (key) => void (await fleet?.forgotten(key)),
  });
  const app = createApp({
    settings,
    authentication: createAuthentication(settings),
    rateLimiter,
    erasure,
    operatorKey: settings.operatorKey === null ? null : new OperatorKey(settings.operatorKey),
    executor: outcomes === null ? watched : outcomes.watch(watched),
    sessions: kernels.owned,
    health: canary,
    files,
    programs,
    json,
    memory,
    inFlight,
    fleet,
    audit,
    usage,
    image: () => kernels.image,
    onAnswered: metrics === null ? null : (request) => countRequest(metrics, request),
    tracing,
    log,
  });
  const parts = {
    settings,
    audit,
    usage,
    fleet,
    kernels,
    executor,
    inFlight,
    programs,
    memory,
    canary,
    files,
    launcher,
  };
  const scrape = metrics === null ? null : new Scrape({ ...parts, metrics });
  const operators =
    operatorKey === null || scrape === null || outcomes === null
      ? null
      : new Console(operatorKey, {
          ...parts,
          scrape,
          outcomes,
          api: app,
          health: canary,
          sessions: kernels.registry,
          image: () => kernels.image,
          log,
        });
  return {
    app,
    scrape,
    console: operators,
    executor,
    inFlight,
    kernels,
    fleet,
    async drain(withinMs) {
      kernels.retire();
      executor.stop();
      inFlight.stop();
      const late = new Promise<void>((resolve) => setTimeout(resolve, withinMs).unref());
      const served = async () => {
        await programs.drain(Math.min(PROGRAM_GRACE_MS, withinMs));
        await inFlight.drained();
      };
      await Promise.race([fleet?.standDown(served(), withinMs) ?? served(), late]);
    },
    async close() {
      operators?.stop();
      scrape?.stop();
      kernels.stop();
      launcher.close();
      await fleet?.stop();
    },
  };
}
