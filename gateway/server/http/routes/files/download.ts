/** `GET /download/{session_id}/{file_id}`: the bytes. */
import { z } from "@hono/zod-openapi";
import { contentDisposition } from "../../../files/names.ts";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { refusalError } from "../../refusals.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../../responses.ts";
import { toWebStream } from "../../web-stream.ts";
import { Claim, FileParams, requestedFile } from "./request.ts";
import { readRange } from "./views.ts";

export function downloadRoute(deps: AppDeps): Route {
  const bytes = { "application/octet-stream": { schema: z.string().openapi({ format: "binary" }) } };
  return {
    spec: {
      method: "get",
      path: "/download/{session_id}/{file_id}",
      summary: "Download a file",
      description: "`Content-Disposition` has the full relative name. A single byte range is served.",
      security: SECURITY,
      request: { params: FileParams, query: Claim },
      responses: {
        200: { description: "The file.", content: bytes },
        206: { description: "The part that `Range` asked for.", content: bytes },
        400: errorResponse("An id or `kind` is malformed."),
        401: UNAUTHORIZED,
        403: errorResponse("`Unauthorized`: the file is somebody else's."),
        404: errorResponse("`File not found`."),
        416: { description: "The range is outside the file." },
        429: errorResponse("`rate_limited`."),
      },
    },
    access: "download",
    audit: "download",
    streams: true,
    async handle(c: AppContext): Promise<Response> {
      const file = await requestedFile(c, deps);
      const { record } = file;
      const range = readRange(c.req.header("range"), record.size);
      if (range.kind === "unsatisfiable") {
        return c.body(null, 416, { "Content-Range": `bytes */${record.size}` });
      }
      const part = range.kind === "part" ? range : null;
      const headers = {
        "Content-Type": record.contentType,
        "Content-Length": String(part ? part.end - part.start + 1 : record.size),
        "Content-Disposition": contentDisposition(file.name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        ETag: `"${record.etag}"`,
        "Last-Modified": new Date(record.modifiedAt).toUTCString(),
        ...(record.readOnly ? { "X-Read-Only": "true" } : {}),
        ...(part ? { "Content-Range": `bytes ${part.start}-${part.end}/${record.size}` } : {}),
      };
      const facts = c.get("facts");
      facts.session = file.sessionId;
      facts.bytes = record.size;
      const status = part ? 206 : 200;
      // Nobody would read the stream of a HEAD request to its end.
      if (c.req.method === "HEAD") return c.body(null, status, headers);
      const content = await deps.files.open(record, part ? { start: part.start, end: part.end } : undefined);
      if (!content) throw refusalError({ status: 404, error: "File not found" });
      deps.usage.add(c.get("principal").tenant, { sent_bytes: Number(headers["Content-Length"]) });
      return c.body(toWebStream(content), status, headers);
    },
  };
}
