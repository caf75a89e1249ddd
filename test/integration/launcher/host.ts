/** What the host says, asked apart from the launcher. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Docker from "dockerode";
import { expect, vi } from "vitest";
import type { LauncherHealth } from "../../../gateway/common/protocol/launcher-api.ts";

export const docker = new Docker();

/** Backing files of loop devices under `directory`. */
export function loopsUnder(directory: string): string[] {
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .flatMap((name) => {
      try {
        return [readFileSync(join("/sys/block", name, "loop/backing_file"), "utf8").trim()];
      } catch {
        return [];
      }
    })
    .filter((file) => file.startsWith(directory));
}

export function instanceOf(dataDir: string): string {
  return readFileSync(join(dataDir, "instance"), "utf8").trim();
}

async function listed(dataDir: string) {
  const label = [`kernelyard.instance=${instanceOf(dataDir)}`];
  return docker.listContainers({ all: true, filters: { label } });
}

/** Resolves when templates are made and proven. */
export function checkpointsAreOn(launcher: { health(): Promise<LauncherHealth> }): Promise<void> {
  return vi.waitFor(
    async () => expect((await launcher.health()).checkpoints).toMatchObject({ state: "on", reason: null }),
    { timeout: 90_000, interval: 100 },
  );
}

/** But for those that the launcher makes and proves its templates with, while it does. */
export async function containersOf(dataDir: string): Promise<string[]> {
  const sandboxes = (await listed(dataDir)).filter(({ Labels }) => Labels["kernelyard.kind"] !== "template");
  return sandboxes.map(({ Id }) => Id);
}

export async function allContainersOf(dataDir: string): Promise<string[]> {
  return (await listed(dataDir)).map(({ Id }) => Id);
}

/** What a session has of the CPUs by default: half of one, and what it saved at once. */
export const SHARE = { cpus: 0.5, burst: 2 };

/** CPUs by the quota of a container's cgroup, and for how many periods it may use that at once; null is no limit. */
export async function cpuShare(containerId: string): Promise<{ cpus: number; burst: number } | null> {
  const { State } = await docker.getContainer(containerId).inspect();
  const lines = readFileSync(`/proc/${State.Pid}/cgroup`, "utf8").split("\n");
  for (const line of lines) {
    const [, controllers = "", path = ""] = line.split(":");
    if (controllers.split(",").includes("cpu")) {
      const number = (name: string) =>
        Number(readFileSync(join("/sys/fs/cgroup/cpu", path, `cpu.cfs_${name}_us`), "utf8"));
      const quota = number("quota");
      return quota < 0 ? null : { cpus: quota / number("period"), burst: 1 + number("burst") / quota };
    }
    if (controllers === "" && path !== "" && !lines.some((other) => other.includes(":cpu"))) {
      const text = (name: string) => readFileSync(join("/sys/fs/cgroup", path, name), "utf8");
      const [quota = "", period] = text("cpu.max").split(" ");
      if (quota === "max") return null;
      return {
        cpus: Number(quota) / Number(period),
        burst: 1 + Number(text("cpu.max.burst")) / Number(quota),
      };
    }
  }
  throw new Error(`no cpu cgroup in ${lines.join(" ")}`);
}
