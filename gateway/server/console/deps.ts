/** What the console looks at: the parts that the API and the metrics look at as well. */
import type { Logger } from "pino";
import type { Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Settings } from "../../common/settings/read.ts";
import type { AuditSink } from "../audit/log.ts";
import type { Executor } from "../execution/call.ts";
import type { HealthMonitor } from "../execution/canary.ts";
import type { FileStore } from "../files/store.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Reading } from "../metrics/metrics.ts";
import type { Registry } from "../sessions/registry.ts";
import type { Usage } from "../usage/usage.ts";
import type { LastOutcomes } from "./last-outcomes.ts";

export interface ConsoleDeps {
  readonly settings: Settings;
  /** The API's application; see `operatorBindings`. */
  readonly api: {
    fetch(request: Request, env: Record<string | symbol, unknown>): Response | Promise<Response>;
  };
  readonly executor: Executor;
  readonly health: HealthMonitor;
  readonly scrape: { read(): Promise<Reading> };
  readonly sessions: Pick<Registry, "all" | "find">;
  readonly outcomes: LastOutcomes;
  readonly launcher: { list(): Promise<readonly Sandbox[]> };
  readonly files: Pick<FileStore, "usage">;
  readonly usage: Pick<Usage, "tenants">;
  readonly audit: AuditSink | null;
  readonly fleet:
    | (Pick<Fleet, "host" | "hosts" | "problem"> & {
        forgotten(key: SessionKey): Promise<boolean>;
      })
    | null;
  readonly image: () => string | null;
  readonly log: Logger;
}
