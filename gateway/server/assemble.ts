/** The gateway's parts put together. Nothing here reads the environment, listens, or ends a process. */
import { availableParallelism } from "node:os";
import type { Logger } from "pino";
import { LauncherClient } from "../common/protocol/launcher-client.ts";
import type { Settings } from "../common/settings/read.ts";
import { createAuthentication } from "./auth/authenticate.ts";
import { createRateLimiter } from "./auth/rate-limits.ts";
import { Canary } from "./execution/canary.ts";
import { Execution } from "./execution/execute.ts";
import { Programs } from "./execution/programs/programs.ts";
import type { ProgramReply } from "./execution/programs/run-program.ts";
import type { FileStore } from "./files/store.ts";
import { createApp } from "./http/app.ts";
import { Kernels } from "./sessions/kernels.ts";

export interface GatewayParts {
  readonly settings: Settings;
  /** Stays its opener's to close, after `close`. */
  readonly files: FileStore;
  readonly log: Logger;
}

export interface Gateway {
  readonly app: ReturnType<typeof createApp>;
  readonly executor: Execution;
  readonly kernels: Kernels;
  /** Takes no more calls and ends programs that wait for tools; resolves when the last call is done, or after `withinMs`. */
  drain(withinMs: number): Promise<void>;
  /** Lets go of the launcher. The sandboxes are the launcher's: the next gateway finds them there. */
  close(): void;
}

/** Throws `SettingsError` when the keys that callers are known by cannot be used. */
export function assemble({ settings, files, log }: GatewayParts): Gateway {
  const launcher = new LauncherClient(settings.launcherSocket);
  const concurrency = Math.max(2, availableParallelism());
  const kernels = new Kernels({ settings, launcher, concurrency, log });
  const executor = new Execution({ settings, kernels });
  const programs = new Programs<ProgramReply>();
  const app = createApp({
    settings,
    authentication: createAuthentication(settings),
    rateLimiter: createRateLimiter(settings.rateLimits),
    executor,
    health: new Canary({ executor, launcher, log }),
    files,
    programs,
    log,
  });
  return {
    app,
    executor,
    kernels,
    async drain(withinMs) {
      kernels.retire();
      // Nobody can continue them here, and the drain would wait for them.
      programs.close();
      const late = new Promise<void>((resolve) => setTimeout(resolve, withinMs).unref());
      await Promise.race([executor.drain(), late]);
    },
    close() {
      kernels.stop();
      launcher.close();
    },
  };
}
