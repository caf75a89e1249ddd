/**
 * Lifts a sandbox's CPU quota while it starts, and then gives it the session's share in a form that short programs are not
 * cut in pieces by. The container is created with the share, so that the engine shows it; the quota in its cgroup is written
 * directly, which is synchronous and takes microseconds.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface CpuShare {
  lift(): void;
  /** Sets the session's share, also when another launcher lifted it and died. Throws when it cannot. */
  restore(): void;
}

export const CGROUP_ROOT = "/sys/fs/cgroup";
/**
 * Not the engine's 100 ms: half of a CPU is 50 ms of work then, after which everything waits, and `python3` with pandas
 * needs twice that. A session that was idle for a moment may use two quotas at once (the burst); over time it has its share.
 * A longer period would let a session that computes stand still for longer.
 */
const PERIOD_US = 250_000;
/** The least that the kernel takes. */
const LEAST_QUOTA_US = 1000;

interface Quota {
  readonly file: string;
  /** What to write, in this order. `optional`: kernels before 5.14 have no such file. */
  readonly lifted: readonly Setting[];
  readonly limited: (microseconds: number) => readonly Setting[];
}

interface Setting {
  readonly file: string;
  readonly value: string;
  readonly optional?: boolean;
}

function version1(file: string): Quota {
  const beside = (name: string) => join(dirname(file), name);
  return {
    file,
    lifted: [{ file, value: "-1" }],
    limited: (quota) => [
      // The kernel refuses a quota below the burst, and a burst above the quota.
      { file: beside("cpu.cfs_burst_us"), value: "0", optional: true },
      { file: beside("cpu.cfs_period_us"), value: String(PERIOD_US) },
      { file, value: String(quota) },
      { file: beside("cpu.cfs_burst_us"), value: String(quota), optional: true },
    ],
  };
}

function version2(file: string): Quota {
  const burst = join(dirname(file), "cpu.max.burst");
  return {
    file,
    lifted: [{ file, value: `max ${PERIOD_US}` }],
    limited: (quota) => [
      { file: burst, value: "0", optional: true },
      { file, value: `${quota} ${PERIOD_US}` },
      { file: burst, value: String(quota), optional: true },
    ],
  };
}

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
  const write = (settings: readonly Setting[]) => {
    try {
      for (const { file, value, optional } of settings) {
        if (optional !== true || existsSync(file)) writeFileSync(file, value);
      }
    } catch (error) {
      // A sandbox that has just died has no cgroup any more, and needs no quota.
      if (existsSync(quota.file)) throw error;
    }
  };
  return {
    lift: () => write(quota.lifted),
    restore: () => write(quota.limited(Math.max(LEAST_QUOTA_US, Math.round(cpus * PERIOD_US)))),
  };
}
