/** What a process of ours uses of its machine: for the figures that an operator watches. */
import { readdir, readFile } from "node:fs/promises";
import { z } from "@hono/zod-openapi";

export const ProcessFigures = z.object({
  open_descriptors: z.number().int(),
  /** Null: without a limit. */
  max_descriptors: z.number().int().nullable(),
  resident_bytes: z.number(),
  /** User and system time since its start. */
  cpu_seconds: z.number(),
  /** Unix time. */
  started_at_seconds: z.number(),
});
export type ProcessFigures = z.infer<typeof ProcessFigures>;

const STARTED_AT_SECONDS = Date.now() / 1000 - process.uptime();

/** Of this process, as Linux tells it. */
export async function processFigures(): Promise<ProcessFigures> {
  const [descriptors, limits] = await Promise.all([
    readdir("/proc/self/fd"),
    readFile("/proc/self/limits", "utf8"),
  ]);
  const { user, system } = process.cpuUsage();
  return {
    // One of them was opened to count them.
    open_descriptors: descriptors.length - 1,
    max_descriptors: softLimit(limits),
    resident_bytes: process.memoryUsage.rss(),
    cpu_seconds: (user + system) / 1e6,
    started_at_seconds: STARTED_AT_SECONDS,
  };
}

function softLimit(limits: string): number | null {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? null : Number(soft);
}
