/** Where a call's CPU time goes: what the processes of each part have used, by the scheduler's own count. */
import { readdirSync, readFileSync } from "node:fs";

/** `engine`: dockerd, containerd and its shims; `sandbox`: all of gVisor, and what runs in it. */
export const PARTS = ["client", "gateway", "launcher", "engine", "sandbox"] as const;
export type Part = (typeof PARTS)[number];

export interface Pids {
  readonly gateway: number;
  readonly launcher: number;
}

/** CPU time in ms by process, of those that belong to a part. */
type Taken = ReadonlyMap<number, { readonly part: Part; readonly ms: number }>;

function partOf(pid: number, pids: Pids): Part | null {
  if (pid === process.pid) return "client";
  if (pid === pids.gateway) return "gateway";
  if (pid === pids.launcher) return "launcher";
  const [program = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  if (/\b(dockerd|containerd|containerd-shim[\w-]*)$/.test(program)) return "engine";
  // gVisor names its processes so; those that stand for a sandbox's own have its program, and no command line.
  if (/^runsc(-sandbox|-gofer)?$/.test(program)) return "sandbox";
  return program === "" && readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("exe") ? "sandbox" : null;
}

function take(pids: Pids): Taken {
  const taken = new Map<number, { part: Part; ms: number }>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const part = partOf(pid, pids);
      if (part === null) continue;
      const tasks = readdirSync(`/proc/${pid}/task`);
      const ns = tasks.map((task) =>
        Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]),
      );
      taken.set(pid, { part, ms: ns.reduce((sum, each) => sum + each, 0) / 1e6 });
    } catch {
      // It has ended.
    }
  }
  return taken;
}

/** Adds up what is used while something is done, as often as that is; not what has ended with its process by then. */
export class CpuTime {
  readonly #pids: Pids;
  readonly #spent = new Map<Part, number>();

  constructor(pids: Pids) {
    this.#pids = pids;
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    const before = take(this.#pids);
    const result = await work();
    for (const [pid, { part, ms }] of take(this.#pids)) {
      // One that was not there has begun meanwhile.
      const more = ms - (before.get(pid)?.ms ?? 0);
      if (more > 0) this.#spent.set(part, (this.#spent.get(part) ?? 0) + more);
    }
    return result;
  }

  /** In ms. */
  of(part: Part): number {
    return this.#spent.get(part) ?? 0;
  }
}
