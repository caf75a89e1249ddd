/** `POST /upload`: one file into a storage session of its own. */
import { z } from "@hono/zod-openapi";
import { type StoredUpload, storeUpload } from "../../../files/upload.ts";
import { audited } from "../../audit.ts";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { refusalError } from "../../refusals.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../../responses.ts";
import { requestBody } from "../../web-stream.ts";
import { Claim } from "./request.ts";

const UploadedFile = z.object({ fileId: z.string(), filename: z.string(), id: z.string(), name: z.string() });

export const UploadResponse = z
  .object({
    message: z.literal("success"),
    session_id: z.string(),
    storage_session_id: z.string(),
    files: z.array(UploadedFile),
  })
  .openapi("UploadResponse");

export const UploadFields = Claim.extend({
  read_only: z.string().optional().openapi({ description: "`true`: code cannot change it." }),
});

/** The form's files in the store, as `accept` says for refused ones. Throws what the client is to hear. */
export async function storeForm(
  c: AppContext,
  { files, settings }: AppDeps,
  accept: "whole" | "each",
): Promise<Extract<StoredUpload, { ok: true }>> {
  const request = {
    principal: c.get("principal"),
    body: requestBody(c),
    contentType: c.req.header("content-type") ?? "",
    limits: { maxFiles: settings.filesMax, maxFileBytes: settings.fileMaxBytes },
  };
  const stored = await storeUpload(files, request, accept);
  if (!stored.ok) throw refusalError(stored);
  return stored;
}

const binary = { type: "string", format: "binary" } as const;

export function uploadRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/upload",
      summary: "Upload a file",
      description:
        "The file name may have directories; it is kept in Unicode NFC. The body may be chunked. Kept durably before the reply.",
      security: SECURITY,
      request: {
        body: {
          required: true,
          content: {
            "multipart/form-data": { schema: UploadFields.extend({ file: z.string().openapi(binary) }) },
          },
        },
      },
      responses: {
        200: { description: "Stored.", content: { "application/json": { schema: UploadResponse } } },
        400: errorResponse("Not multipart, no file, or a name or field that cannot be."),
        401: UNAUTHORIZED,
        413: errorResponse("`File size limit exceeded`."),
        429: errorResponse("`rate_limited`."),
        507: errorResponse("`storage_full`: nothing was kept."),
      },
    },
    access: "upload",
    audit: "upload",
    streams: true,
    async handle(c: AppContext): Promise<Response> {
      const stored = await storeForm(c, deps, "whole");
      const accepted = stored.parts.filter((part) => part.accepted);
      const facts = c.get("facts");
      facts.session = stored.sessionId;
      facts.files = accepted.length;
      audited(c, { inputs: accepted.map(({ staged }) => staged.id) });
      facts.bytes = accepted.reduce((sum, { staged }) => sum + staged.size, 0);
      return c.json({
        message: "success",
        session_id: stored.sessionId,
        storage_session_id: stored.sessionId,
        files: accepted.map(({ staged, filename, name }) => ({
          fileId: staged.id,
          filename,
          id: staged.id,
          name,
        })),
      } satisfies z.infer<typeof UploadResponse>);
    },
  };
}
