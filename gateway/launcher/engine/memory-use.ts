/** What a container uses of its host's memory, read from its cgroup. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CGROUP_ROOT, GROUPS } from "./cpu-share.ts";

/** In bytes; null where that cannot be seen. */
export function memoryUse(containerId: string | null): number | null {
  if (containerId === null) return null;
  for (const group of GROUPS) {
    for (const file of [
      join(CGROUP_ROOT, "memory", group(containerId), "memory.usage_in_bytes"),
      join(CGROUP_ROOT, group(containerId), "memory.current"),
    ]) {
      try {
        return Number.parseInt(readFileSync(file, "utf8"), 10);
      } catch {
        // The next place.
      }
    }
  }
  return null;
}
