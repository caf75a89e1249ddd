/** The body of `POST /operator/erase`. */
import { z } from "@hono/zod-openapi";
import { TenantName } from "../../../common/protocol/launcher-api.ts";
import { type JsonKind, readBySchema } from "../../bounds/json-reading.ts";

export const EraseRequest = z
  .strictObject({
    tenant: TenantName.openapi({
      description: "As in the audit log: of a key, its tenant; of a token, what begins with `jwt-`.",
    }),
    user: z.string().min(1).max(512).optional().openapi({
      description: "A token's user (`subject` in the audit log). Without it, all of the tenant.",
    }),
    shared_files: z.boolean().default(false).openapi({
      description: "Removes files, too, that the user has stored for agents and skills of the tenant.",
    }),
  })
  .openapi("EraseRequest");

export const ERASE_BODY: JsonKind<z.output<typeof EraseRequest>> = {
  module: import.meta.url,
  name: "ERASE_BODY",
  limits: { bytes: 16 * 1024, elements: 100, depth: 16 },
  read: (value) => readBySchema(EraseRequest, value),
};
