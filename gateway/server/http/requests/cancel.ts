/** The body of `POST /exec/programmatic/cancel`. */
import { z } from "@hono/zod-openapi";
import { type JsonKind, readBySchema } from "../../bounds/json-reading.ts";

export const RequestId = z.string().regex(/^[A-Za-z0-9._:-]{1,128}$/);

export const CancelRequest = z
  .object({
    request_id: RequestId.openapi({ description: "Value of `X-LibreChat-Code-Request-ID`." }),
  })
  .openapi("CancelRequest");

export const CANCEL_BODY: JsonKind<z.output<typeof CancelRequest>> = {
  module: import.meta.url,
  name: "CANCEL_BODY",
  limits: { bytes: 16 * 1024, elements: 100, depth: 16 },
  read: (value) => readBySchema(CancelRequest, value),
};
