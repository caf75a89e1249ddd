/** Every route of the service. */
import type { AppDeps, Route } from "./context.ts";
import { execRoute } from "./routes/exec.ts";
import { healthRoute } from "./routes/health.ts";
import { runRoute } from "./routes/run.ts";

export function routes(deps: AppDeps): readonly Route[] {
  return [runRoute(deps), execRoute(deps), healthRoute(deps)];
}
