/** What a program asks of its tools, as its sandbox wrote it: hostile, like all that comes from there. */
import { z } from "@hono/zod-openapi";
import { boundedArray, type JsonKind, readBySchema } from "../../bounds/json-reading.ts";

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

const ToolCalls = boundedArray(
  z.object({ id: z.string().regex(/^call_\d{3,6}$/), name: z.string().max(256), input: z.unknown() }),
  1_000,
);

/** Its bytes are bounded by the exchange already. */
export const TOOL_CALLS: JsonKind<readonly ToolCall[]> = {
  module: import.meta.url,
  name: "TOOL_CALLS",
  limits: { bytes: 5 * 1024 * 1024, elements: 20_000, depth: 64 },
  read: (value) => readBySchema(ToolCalls, value),
};
