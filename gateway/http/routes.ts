/** Every route of the service. */
import type { AppDeps, Route } from "./context.ts";
import { downloadRoute } from "./routes/download.ts";
import { execRoute } from "./routes/exec.ts";
import { deleteFileRoute, filesRoute } from "./routes/files.ts";
import { healthRoute } from "./routes/health.ts";
import { deleteObjectRoute, objectRoute } from "./routes/object.ts";
import { programmaticRoute } from "./routes/programmatic.ts";
import { programmaticCancelRoute } from "./routes/programmatic-cancel.ts";
import { runRoute } from "./routes/run.ts";
import { uploadRoute } from "./routes/upload.ts";
import { uploadBatchRoute } from "./routes/upload-batch.ts";

export function routes(deps: AppDeps): readonly Route[] {
  return [
    runRoute(deps),
    execRoute(deps),
    programmaticRoute(deps),
    programmaticCancelRoute(deps),
    uploadRoute(deps),
    uploadBatchRoute(deps),
    downloadRoute(deps),
    objectRoute(deps),
    deleteObjectRoute(deps),
    filesRoute(deps),
    deleteFileRoute(deps),
    healthRoute(deps),
  ];
}
