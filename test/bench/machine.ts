/** What figures are of: the machine, and what else it did meanwhile. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { z } from "@hono/zod-openapi";
import Docker from "dockerode";

export const Machine = z.object({
  cpu: z.string(),
  cpus: z.number(),
  memory_gib: z.number(),
  kernel: z.string(),
  node: z.string(),
  engine: z.string(),
  commit: z.string(),
});
export type Machine = z.infer<typeof Machine>;

export async function machineFacts(commit: string): Promise<Machine> {
  const { Version } = await new Docker().version();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cpus: availableParallelism(),
    memory_gib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    // A distribution's own suffix says nothing here.
    kernel: release().split("-")[0] ?? "",
    node: process.version,
    engine: Version,
    commit,
  };
}

/** Processes that ran or wanted to, over the last minute. */
export const load = (): number => Math.round((loadavg()[0] ?? 0) * 10) / 10;

interface CpuTimes {
  readonly busy: number;
  readonly stolen: number;
  readonly total: number;
}

function cpuTimes(): CpuTimes {
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0] = readFileSync(
    "/proc/stat",
    "utf8",
  )
    .split("\n", 1)
    .join("")
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const busy = user + nice + system + irq + soft;
  return { busy, stolen, total: busy + idle + wait + stolen };
}

/** What this process and its children have no part in shows as a load of its own: other machines on the same host as `stolen`. */
export function watchCpus(): () => { readonly busy: number; readonly stolen: number } {
  const before = cpuTimes();
  return () => {
    const after = cpuTimes();
    const total = Math.max(1, after.total - before.total);
    const percent = (part: number) => Math.round((100 * part) / total);
    return {
      busy: percent(after.busy - before.busy),
      stolen: percent(after.stolen - before.stolen),
    };
  };
}
