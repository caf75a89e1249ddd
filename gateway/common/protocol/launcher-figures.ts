/**
 * What the launcher counts, for the gateway's metrics: `GET /figures` → 200 LauncherFigures. Counts are since the
 * launcher's start; nothing in here names a session, a user or a file.
 */
import { z } from "@hono/zod-openapi";
import { ProcessFigures } from "../process-figures.ts";
import { SandboxEnd } from "./launcher-api.ts";

const SandboxKind = z.enum(["session", "fresh"]);

/** `refused`: the engine said no; `away`: it did not answer. */
export const EngineOutcome = z.enum(["ok", "refused", "away"]);
export type EngineOutcome = z.infer<typeof EngineOutcome>;

export const LauncherFigures = z.object({
  /** Round trips to the engine; `operation` is from the launcher's own vocabulary. */
  engine_calls: z.array(
    z.object({
      operation: z.string().regex(/^[a-z_]{1,32}$/),
      outcome: EngineOutcome,
      count: z.number().int(),
      seconds: z.number(),
    }),
  ),
  starts: z.array(
    z.object({
      kind: SandboxKind,
      outcome: z.enum(["started", "failed"]),
      count: z.number().int(),
      seconds: z.number(),
    }),
  ),
  ends: z.array(z.object({ kind: SandboxKind, reason: SandboxEnd.shape.reason, count: z.number().int() })),
  /** Containers and loop devices of this instance that the sweep found without an owner. */
  orphans: z.object({ containers: z.number().int(), devices: z.number().int() }),
  /** Null: this host does not say, or has none. */
  loop_devices: z.number().int().nullable(),
  /** Images of session volumes, and what they take of the disk; null without hard sizes. */
  session_volumes: z.object({ count: z.number().int(), bytes: z.number() }).nullable(),
  process: ProcessFigures,
});
export type LauncherFigures = z.infer<typeof LauncherFigures>;
