/** Every route of the service. */
import type { AppDeps, Route } from "./context.ts";
import { execRoute } from "./routes/exec.ts";
import { execStreamRoute } from "./routes/exec-stream.ts";
import { downloadRoute } from "./routes/files/download.ts";
import { deleteFileRoute, filesRoute } from "./routes/files/list.ts";
import { deleteObjectRoute, objectRoute } from "./routes/files/object.ts";
import { uploadRoute } from "./routes/files/upload.ts";
import { uploadBatchRoute } from "./routes/files/upload-batch.ts";
import { healthRoute } from "./routes/health.ts";
import { eraseRoute } from "./routes/operator/erase.ts";
import { programmaticRoute } from "./routes/programmatic.ts";
import { programmaticCancelRoute } from "./routes/programmatic-cancel.ts";
import { runRoute } from "./routes/run.ts";
import { forgetRoute, interruptRoute, restartRoute } from "./routes/runtime-sessions/control.ts";
import { listSessionsRoute, lookAtSessionRoute } from "./routes/runtime-sessions/look.ts";
import { tenantUsageRoute, usageRoute } from "./routes/usage.ts";

export function routes(deps: AppDeps): readonly Route[] {
  return [
    runRoute(deps),
    execRoute(deps),
    execStreamRoute(deps),
    programmaticRoute(deps),
    programmaticCancelRoute(deps),
    uploadRoute(deps),
    uploadBatchRoute(deps),
    downloadRoute(deps),
    objectRoute(deps),
    deleteObjectRoute(deps),
    filesRoute(deps),
    deleteFileRoute(deps),
    listSessionsRoute(deps),
    lookAtSessionRoute(deps),
    interruptRoute(deps),
    restartRoute(deps),
    forgetRoute(deps),
    usageRoute(deps),
    eraseRoute(deps),
    tenantUsageRoute(deps),
    healthRoute(deps),
  ];
}
