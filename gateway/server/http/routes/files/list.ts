/** `/files/{session_id}`: what a session holds, and the other spelling of deletion. */
import { z } from "@hono/zod-openapi";
import { accessSession } from "../../../files/access.ts";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { ServiceError } from "../../errors.ts";
import { refusalError } from "../../refusals.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../../responses.ts";
import { deleteRoute } from "./object.ts";
import { Claim, claimFields, pathId, SessionParams } from "./request.ts";
import { DETAILS, FullView, listedView, NormalizedView, SummaryView } from "./views.ts";

const Detail = z.enum(DETAILS);

export const FileList = z
  .array(z.union([z.string(), FullView, SummaryView, NormalizedView]))
  .openapi("FileList");

export function filesRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/files/{session_id}",
      summary: "List the files of a session",
      description:
        "Uploads of a storage session, or the inputs and outputs of an execution. A session that is unknown, or whose files have expired, has none: `[]`.",
      security: SECURITY,
      request: {
        params: SessionParams,
        query: Claim.extend({ detail: Detail.optional().openapi({ description: "Default `simple`." }) }),
      },
      responses: {
        200: {
          description: "Strings for `simple`, objects otherwise.",
          content: { "application/json": { schema: FileList } },
        },
        400: errorResponse("The id, `kind` or `detail` is malformed."),
        401: UNAUTHORIZED,
        403: errorResponse("`Unauthorized`: the files are somebody else's."),
        429: errorResponse("`rate_limited`."),
      },
    },
    access: "files",
    async handle(c: AppContext): Promise<Response> {
      const sessionId = pathId(c, "session_id");
      const detail = Detail.safeParse(c.req.query("detail") || "simple");
      if (!detail.success) {
        throw new ServiceError("bad_request", `\`detail\` must be one of: ${DETAILS.join(", ")}`);
      }
      const access = await accessSession(deps.files, c.get("principal"), sessionId, claimFields(c));
      if (!access.ok) throw refusalError(access);
      return c.json(access.files.map((file) => listedView(file, detail.data)));
    },
  };
}

export const deleteFileRoute = (deps: AppDeps): Route => deleteRoute(deps, "/files/{session_id}/{file_id}");
