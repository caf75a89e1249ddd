/** `POST /upload/batch`: many files into one storage session, each with its own outcome. */
import { z } from "@hono/zod-openapi";
import { audited } from "../../audit.ts";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../../responses.ts";
import { storeForm, UploadFields } from "./upload.ts";

const BatchFile = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("success"),
    fileId: z.string(),
    filename: z.string().openapi({ description: "As it was sent." }),
    id: z.string(),
    name: z.string().openapi({ description: "As it is stored." }),
  }),
  z.object({ status: z.literal("error"), filename: z.string(), error: z.string() }),
]);

export const BatchResponse = z
  .object({
    message: z.enum(["success", "partial_success", "error"]),
    session_id: z.string(),
    storage_session_id: z.string(),
    files: z.array(BatchFile),
    succeeded: z.number().int(),
    failed: z.number().int(),
    filesLimitReached: z
      .literal(true)
      .optional()
      .openapi({ description: "The files after `maxFiles` were not read." }),
    maxFiles: z.number().int().optional(),
  })
  .openapi("BatchUploadResponse");

const binaries = { type: "array", items: { type: "string", format: "binary" } } as const;

export function uploadBatchRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/upload/batch",
      summary: "Upload many files",
      description: "One storage session for all; one refused file leaves the others.",
      security: SECURITY,
      request: {
        body: {
          required: true,
          content: {
            "multipart/form-data": {
              schema: UploadFields.extend({ file: z.array(z.string()).openapi(binaries) }),
            },
          },
        },
      },
      responses: {
        200: {
          description: "At least one was stored.",
          content: { "application/json": { schema: BatchResponse } },
        },
        400: {
          description: "Not multipart, no files, a wrong field, or every file was refused.",
          content: { "application/json": { schema: BatchResponse } },
        },
        401: UNAUTHORIZED,
        413: errorResponse("A file is far beyond the limit."),
        429: errorResponse("`rate_limited`."),
        507: errorResponse("`storage_full`: nothing was kept."),
      },
    },
    access: "upload",
    audit: "upload",
    streams: true,
    async handle(c: AppContext): Promise<Response> {
      const stored = await storeForm(c, deps, "each");
      const files = stored.parts.map(
        (part): z.infer<typeof BatchFile> =>
          part.accepted
            ? {
                status: "success",
                fileId: part.staged.id,
                filename: part.filename,
                id: part.staged.id,
                name: part.name,
              }
            : { status: "error", filename: part.filename, error: part.message },
      );
      const succeeded = files.filter(({ status }) => status === "success").length;
      const failed = files.length - succeeded;
      const facts = c.get("facts");
      facts.session = stored.sessionId;
      facts.files = succeeded;
      const stays = stored.parts.filter((part) => part.accepted);
      audited(c, { inputs: stays.map(({ staged }) => staged.id) });
      facts.failed = failed;
      const body: z.infer<typeof BatchResponse> = {
        message: failed === 0 ? "success" : succeeded > 0 ? "partial_success" : "error",
        session_id: stored.sessionId,
        storage_session_id: stored.sessionId,
        files,
        succeeded,
        failed,
        ...(stored.filesLimitReached ? { filesLimitReached: true, maxFiles: deps.settings.filesMax } : {}),
      };
      return c.json(body, succeeded > 0 ? 200 : 400);
    },
  };
}
