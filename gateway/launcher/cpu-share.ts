/**
 * Lifts a sandbox's CPU quota while it starts. The container is created with the session's share, so that the engine
 * shows it; the quota in its cgroup is written directly, which is synchronous and takes microseconds.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CpuShare {
  lift(): void;
  /** Puts back the quota that was there. Does nothing when it was never lifted. */
  restore(): void;
}

interface Quota {
  readonly file: string;
  /** What is written for no limit. */
  readonly unlimited: string;
}

const CGROUP_ROOT = "/sys/fs/cgroup";

/** The cgroup files of process `pid`; null where they cannot be seen (another pid namespace, no cgroups). */
export function cpuShareOf(pid: number, root: string = CGROUP_ROOT, proc: string = "/proc"): CpuShare | null {
  const quota = quotaOf(pid, root, proc);
  if (quota === null) return null;
  let before: string | null = null;
  return {
    lift() {
      if (before !== null) return;
      const value = readFileSync(quota.file, "utf8").trim();
      writeFileSync(quota.file, quota.unlimited);
      before = value;
    },
    restore() {
      if (before === null) return;
      const value = before;
      before = null;
      // A sandbox that has just died has no cgroup any more, and needs no quota.
      if (existsSync(quota.file)) writeFileSync(quota.file, value);
    },
  };
}

function quotaOf(pid: number, root: string, proc: string): Quota | null {
  let lines: string[];
  try {
    lines = readFileSync(join(proc, String(pid), "cgroup"), "utf8").split("\n");
  } catch {
    return null;
  }
  for (const line of lines) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.+)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const quota =
      controllers === ""
        ? { file: join(root, path, "cpu.max"), unlimited: "max 100000" }
        : controllers.split(",").includes("cpu")
          ? { file: join(root, "cpu", path, "cpu.cfs_quota_us"), unlimited: "-1" }
          : null;
    if (quota !== null && existsSync(quota.file)) return quota;
  }
  return null;
}
