/** The body of `POST /run`. */
import { z } from "@hono/zod-openapi";
import { SessionName } from "../../../common/protocol/launcher-api.ts";
import { type JsonKind, readBySchema } from "../../bounds/json-reading.ts";

export const RunRequest = z
  .object({
    session_id: SessionName.openapi({
      description: "Names the session: its kernel, and the volume at `/mnt/session_data`.",
      example: "analysis-1",
    }),
    code: z.string().openapi({ description: "Python.", example: "print(6 * 7)" }),
  })
  .openapi("RunRequest");

export type RunCall = z.output<typeof RunRequest>;

/** What is more than the two fields is ignored, within bounds. */
export const RUN_BODY: JsonKind<RunCall> = {
  module: import.meta.url,
  name: "RUN_BODY",
  limits: { bytes: 8 * 1024 * 1024, elements: 1_000, depth: 32 },
  read: (value) => readBySchema(RunRequest, value),
};
