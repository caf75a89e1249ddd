/** `/sessions/{session_id}/objects/{file_id}`: is a file still there, and delete it. */
import { z } from "@hono/zod-openapi";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { refusalError } from "../../refusals.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../../responses.ts";
import { Claim, FileParams, requestedFile } from "./request.ts";
import { ObjectView, objectView } from "./views.ts";

const refusals = {
  400: errorResponse("An id or `kind` is malformed."),
  401: UNAUTHORIZED,
  403: errorResponse("`Unauthorized`: the file is somebody else's."),
  404: errorResponse("`File not found`."),
  429: errorResponse("`rate_limited`."),
};

export function objectRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/sessions/{session_id}/objects/{file_id}",
      summary: "Describe a file",
      description: "LibreChat asks this before it uses a reference.",
      security: SECURITY,
      request: { params: FileParams, query: Claim },
      responses: {
        200: { description: "It is there.", content: { "application/json": { schema: ObjectView } } },
        ...refusals,
      },
    },
    access: "files",
    async handle(c: AppContext): Promise<Response> {
      return c.json(objectView(await requestedFile(c, deps)));
    },
  };
}

export const DeletedResponse = z
  .object({ message: z.literal("File deleted successfully"), session_id: z.string(), fileId: z.string() })
  .openapi("DeletedFile");

/** Both spellings of deletion. */
export function deleteRoute(deps: AppDeps, path: string): Route {
  return {
    spec: {
      method: "delete",
      path,
      summary: "Delete a file",
      description: "An input that is listed in an execution's session is only taken off that list.",
      security: SECURITY,
      request: { params: FileParams, query: Claim },
      responses: {
        200: { description: "Deleted.", content: { "application/json": { schema: DeletedResponse } } },
        ...refusals,
      },
    },
    access: "files",
    audit: "delete",
    async handle(c: AppContext): Promise<Response> {
      const { sessionId, record } = await requestedFile(c, deps);
      const removed = await deps.files.remove(sessionId, record.id);
      if (!removed) throw refusalError({ status: 404, error: "File not found" });
      return c.json({
        message: "File deleted successfully",
        session_id: sessionId,
        fileId: record.id,
      } satisfies z.infer<typeof DeletedResponse>);
    },
  };
}

export const deleteObjectRoute = (deps: AppDeps): Route =>
  deleteRoute(deps, "/sessions/{session_id}/objects/{file_id}");
