/**
 * Ends a sandbox that the engine cannot end: the engine asks the sandbox's own gVisor to kill it, and waits without
 * limit when that hangs, with the container locked. SIGKILL from the host to the processes of its cgroup frees both.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CGROUP_ROOT, GROUPS } from "../engine/cpu-share.ts";

/** Returns how many processes were sent a SIGKILL; with cgroup v2 the kernel counts for itself (-1). */
export function killContainerProcesses(containerId: string, root: string = CGROUP_ROOT): number {
  let killed = 0;
  for (const group of GROUPS) {
    if (attempt(() => writeFileSync(join(root, group(containerId), "cgroup.kill"), "1"))) return -1;
    for (const pid of processesOf(join(root, "memory", group(containerId), "cgroup.procs"))) {
      if (attempt(() => process.kill(pid, "SIGKILL"))) killed++;
    }
  }
  return killed;
}

function processesOf(file: string): number[] {
  let text = "";
  attempt(() => {
    text = readFileSync(file, "utf8");
  });
  // 0 is a process of another pid namespace; and never a group, never ourselves.
  return text
    .split("\n")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid > 1 && pid !== process.pid);
}

function attempt(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
