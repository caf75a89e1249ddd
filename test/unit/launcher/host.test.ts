import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cpuShareOf, cpuShareOfProcess } from "../../../gateway/launcher/engine/cpu-share.ts";
import { IsolationError } from "../../../gateway/launcher/errors.ts";
import { InstanceError, openInstance } from "../../../gateway/launcher/instance.ts";
import { programIdentity, readSeccompProfile } from "../../../gateway/launcher/isolation/probe.ts";
import { capacityOf } from "../../../gateway/launcher/spec/capacity.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-host-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function put(path: string, text: string): string {
  const file = join(directory, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text);
  return file;
}

describe("the CPU share", () => {
  const V1 = [
    "cpu.cfs_quota_us",
    "-1",
    { "cpu.cfs_period_us": "250000", "cpu.cfs_quota_us": "125000" },
  ] as const;
  const V2 = ["cpu.max", "max 250000", { "cpu.max": "125000 250000" }] as const;
  test.each([
    ["v1, cgroupfs", "cpu/docker/c1", ...V1, "cpu.cfs_burst_us"],
    ["v1, systemd", "cpu/system.slice/docker-c1.scope", ...V1, "cpu.cfs_burst_us"],
    ["v2, cgroupfs", "docker/c1", ...V2, "cpu.max.burst"],
    ["v2, systemd", "system.slice/docker-c1.scope", ...V2, "cpu.max.burst"],
  ])("is lifted and put back in cgroup %s", (_what, group, file, lifted, restored, burst) => {
    const read = (name: string) => readFileSync(join(directory, group, name), "utf8");
    put(join(group, file), "as made");
    put(join(group, burst), "0");
    const share = cpuShareOf("c1", 0.5, directory);
    share?.lift();
    expect(read(file)).toBe(lifted);
    share?.restore();
    for (const [name, value] of Object.entries(restored)) expect(read(name)).toBe(value);
    expect(read(burst)).toBe("125000");
  });

  test("is put back by a kernel that has no bursts", () => {
    const file = put("docker/c1/cpu.max", "as made");
    cpuShareOf("c1", 0.5, directory)?.restore();
    expect(readFileSync(file, "utf8")).toBe("125000 250000");
    expect(existsSync(join(directory, "docker/c1/cpu.max.burst"))).toBe(false);
  });

  test.each([
    ["v1", "5:cpu,cpuacct:/own/c1\n4:memory:/own/c1\n", "cpu/own/c1/cpu.cfs_quota_us", "-1"],
    ["v2", "0::/own/c1\n", "own/c1/cpu.max", "max 250000"],
  ])("is found by process in cgroup %s", (_what, lines, path, lifted) => {
    const file = put(path, "as made");
    put("proc/7/cgroup", lines);
    cpuShareOfProcess(7, 0.5, directory, join(directory, "proc"))?.lift();
    expect(readFileSync(file, "utf8")).toBe(lifted);
  });

  test("of a sandbox that died meanwhile is nothing to do", () => {
    put("docker/c1/cpu.max", "as made");
    const share = cpuShareOf("c1", 0.5, directory);
    rmSync(join(directory, "docker"), { recursive: true });
    expect(() => share?.restore()).not.toThrow();
  });

  test("that cannot be seen is told", () => {
    expect(cpuShareOf("c1", 0.5, directory)).toBeNull();
    expect(cpuShareOfProcess(7, 0.5, directory, directory)).toBeNull();
  });
});

describe("the instance", () => {
  test("keeps its id, and its directory to itself", () => {
    const first = openInstance(directory);
    expect(() => openInstance(directory)).toThrow(InstanceError);
    first.unlock();
    const second = openInstance(directory);
    expect(second.id).toBe(first.id);
    second.unlock();
  });

  test("with a spoilt id is refused rather than made anew", () => {
    put("instance", "not an id");
    expect(() => openInstance(directory)).toThrow(InstanceError);
  });
});

describe("the runtime's program", () => {
  const program = (says: string) => {
    const file = put("runsc", `#!/bin/sh\nprintf '${says}'\n`);
    chmodSync(file, 0o755);
    return file;
  };

  test("is named by its version", async () => {
    const file = program("runsc version release-20261101.0\\nspec: 1.2.1\\n");
    expect(await programIdentity("runsc", file)).toBe("runsc version release-20261101.0");
  });

  test("is named by its digest when it was built without a version", async () => {
    const file = program("runsc version VERSION_MISSING\\n");
    const digest = createHash("sha256").update(readFileSync(file)).digest("hex");
    expect(await programIdentity("runsc", file)).toBe(
      `runsc built from source, sha256 ${digest.slice(0, 12)}`,
    );
  });

  test.each([undefined, "/no/such/program"])("that is out of sight (%s) is not named", async (path) => {
    expect(await programIdentity("runsc", path)).toBeNull();
  });
});

test("a seccomp profile that differs from the shipped one is refused, a missing copy is not", () => {
  const changed = put("seccomp.json", '{"defaultAction":"SCMP_ACT_ALLOW"}');
  expect(() => readSeccompProfile(changed)).toThrow(IsolationError);
  const { json, sha256 } = readSeccompProfile(join(directory, "none.json"));
  expect(readSeccompProfile(put("seccomp.json", json)).sha256).toBe(sha256);
});

test.each([
  [24 * GIB, null, 38],
  [3 * GIB, null, 2],
  [24 * GIB, 700 * MIB, 1],
])(
  "a host of %i bytes with a budget of %s takes %i sandboxes",
  (hostMemoryBytes, memoryBudgetBytes, sandboxes) => {
    expect(capacityOf({ memoryBytes: 512 * MIB, memoryBudgetBytes, hostMemoryBytes }).sandboxes).toBe(
      sandboxes,
    );
  },
);
