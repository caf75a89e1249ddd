/** `/sessions/{session_id}/objects/{file_id}`: is a file still there, and delete it. */
import { z } from "@hono/zod-openapi";
import { accessFile } from "../../../files/access.ts";
import type { AppContext, Route } from "../../context.ts";
import {
  answeringForStore,
  ClaimQuery,
  claimFields,
  errorResponse,
  FileParams,
  type FileRouteDeps,
  pathId,
  refusalError,
  SECURITY,
} from "./shared.ts";
import { ObjectView, objectView } from "./views.ts";

const refusals = {
  400: errorResponse("An id or `kind` is malformed."),
  401: errorResponse("No key or token, or a wrong one."),
  403: errorResponse("`Unauthorized`: the file is somebody else's."),
  404: errorResponse("`File not found`."),
  429: errorResponse("`rate_limited`."),
};

export function objectRoute(deps: FileRouteDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/sessions/{session_id}/objects/{file_id}",
      summary: "Describe a file",
      description: "LibreChat asks this before it uses a reference.",
      security: SECURITY,
      request: { params: FileParams, query: ClaimQuery },
      responses: {
        200: { description: "It is there.", content: { "application/json": { schema: ObjectView } } },
        ...refusals,
      },
    },
    access: "files",
    handle: (c: AppContext): Promise<Response> =>
      answeringForStore(async () => {
        const [sessionId, fileId] = [pathId(c, "session_id"), pathId(c, "file_id")];
        const access = await accessFile(deps.files, c.get("principal"), sessionId, fileId, claimFields(c));
        if (!access.ok) throw refusalError(access);
        return c.json(objectView(access.file));
      }),
  };
}

export const DeletedResponse = z
  .object({ message: z.literal("File deleted successfully"), session_id: z.string(), fileId: z.string() })
  .openapi("DeletedFile");

/** Both spellings of deletion. */
export function deleteRoute(deps: FileRouteDeps, path: string): Route {
  return {
    spec: {
      method: "delete",
      path,
      summary: "Delete a file",
      description: "An input that is listed in an execution's session is only taken off that list.",
      security: SECURITY,
      request: { params: FileParams, query: ClaimQuery },
      responses: {
        200: { description: "Deleted.", content: { "application/json": { schema: DeletedResponse } } },
        ...refusals,
      },
    },
    access: "files",
    handle: (c: AppContext): Promise<Response> =>
      answeringForStore(async () => {
        const [sessionId, fileId] = [pathId(c, "session_id"), pathId(c, "file_id")];
        const access = await accessFile(deps.files, c.get("principal"), sessionId, fileId, claimFields(c));
        if (!access.ok) throw refusalError(access);
        const removed = await deps.files.remove(sessionId, fileId);
        if (!removed) throw refusalError({ status: 404, error: "File not found" });
        return c.json({
          message: "File deleted successfully",
          session_id: sessionId,
          fileId,
        } satisfies z.infer<typeof DeletedResponse>);
      }),
  };
}

export const deleteObjectRoute = (deps: FileRouteDeps): Route =>
  deleteRoute(deps, "/sessions/{session_id}/objects/{file_id}");
