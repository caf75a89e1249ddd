/**
 * Lifts a sandbox's CPU quota while it starts. The container is created with the session's share, so that the engine
 * shows it; the quota in its cgroup is written directly, which is synchronous and takes microseconds.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface CpuShare {
  lift(): void;
  /** Sets the session's share, also when another launcher lifted it and died. */
  restore(): void;
}

export const CGROUP_ROOT = "/sys/fs/cgroup";
/** What the engine uses for its `NanoCpus`. */
const PERIOD_US = 100_000;

interface Quota {
  readonly file: string;
  readonly write: (microseconds: number | null) => string;
}

const version1 = (file: string): Quota => ({ file, write: (quota) => String(quota ?? -1) });
const version2 = (file: string): Quota => ({ file, write: (quota) => `${quota ?? "max"} ${PERIOD_US}` });

/** Where the engine puts a container's cgroup, by its cgroup driver. */
export const GROUPS = [(id: string) => `docker/${id}`, (id: string) => `system.slice/docker-${id}.scope`];

/** Every place where a container's CPU quota may be, before there is a cgroup to look at. */
export function quotaFiles(containerId: string, root: string = CGROUP_ROOT) {
  return {
    version1: GROUPS.map((group) => join(root, "cpu", group(containerId), "cpu.cfs_quota_us")),
    version2: GROUPS.map((group) => join(root, group(containerId), "cpu.max")),
  };
}

/** By the container's name, where the engine's usual place has it; null where it has not, or cannot be seen. */
export function cpuShareOf(containerId: string, cpus: number, root: string = CGROUP_ROOT): CpuShare | null {
  const files = quotaFiles(containerId, root);
  const found = existing([...files.version1.map(version1), ...files.version2.map(version2)]);
  return found === null ? null : share(found, cpus);
}

/** By the main process, for engines with a cgroup parent of their own. */
export function cpuShareOfProcess(
  pid: number,
  cpus: number,
  root: string = CGROUP_ROOT,
  proc: string = "/proc",
): CpuShare | null {
  let lines: string[];
  try {
    lines = readFileSync(join(proc, String(pid), "cgroup"), "utf8").split("\n");
  } catch {
    return null;
  }
  const candidates = lines.flatMap((line) => {
    // v1: `N:cpu,cpuacct:/path`; v2: `0::/path`.
    const [, controllers, path] = /^\d+:([^:]*):(\/.+)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (controllers === "") return [version2(join(root, path, "cpu.max"))];
    return controllers.split(",").includes("cpu")
      ? [version1(join(root, "cpu", path, "cpu.cfs_quota_us"))]
      : [];
  });
  const found = existing(candidates);
  return found === null ? null : share(found, cpus);
}

function existing(candidates: readonly Quota[]): Quota | null {
  return candidates.find((candidate) => existsSync(candidate.file)) ?? null;
}

function share(quota: Quota, cpus: number): CpuShare {
  const write = (microseconds: number | null) => {
    try {
      writeFileSync(quota.file, quota.write(microseconds));
    } catch (error) {
      // A sandbox that has just died has no cgroup any more, and needs no quota.
      if (existsSync(quota.file)) throw error;
    }
  };
  return {
    lift: () => write(null),
    restore: () => write(Math.max(1000, Math.round(cpus * PERIOD_US))),
  };
}
