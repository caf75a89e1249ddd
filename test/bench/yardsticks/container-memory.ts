/** A container's memory that cannot be given back: without the files' pages, which go when somebody needs the room. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CGROUP_ROOT, GROUPS } from "../../../gateway/launcher/engine/cpu-share.ts";
import { memoryUse } from "../../../gateway/launcher/engine/memory-use.ts";

const MIB = 1024 * 1024;

/** In MiB. */
export function containerMemory(containerId: string): number {
  const used = memoryUse(containerId);
  const files = GROUPS.flatMap((group) => [
    join(CGROUP_ROOT, "memory", group(containerId), "memory.stat"),
    join(CGROUP_ROOT, group(containerId), "memory.stat"),
  ]);
  for (const file of files) {
    try {
      const text = readFileSync(file, "utf8");
      const of = (name: string) => Number(new RegExp(`^(?:total_)?${name} (\\d+)$`, "m").exec(text)?.[1]);
      return ((used ?? Number.NaN) - of("inactive_file") - of("active_file")) / MIB;
    } catch {
      // The next place.
    }
  }
  throw new Error(`no memory cgroup of ${containerId}`);
}
