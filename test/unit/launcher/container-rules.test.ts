import type { ContainerCreateOptions } from "dockerode";
import { describe, expect, test } from "vitest";
import { brokenRules, CONTAINER_RULES } from "../../../gateway/launcher/spec/container-rules.ts";
import {
  factsOf,
  type SandboxSpecInput,
  SpecError,
  sandboxSpec,
} from "../../../gateway/launcher/spec/create-body.ts";

const MIB = 1024 * 1024;

const input: SandboxSpecInput = {
  id: "abcdefghijklmnopqrstu",
  instance: "instance-of-the-test-",
  createdAt: Date.UTC(2026, 0, 2),
  profile: "default",
  imageId: `sha256:${"a".repeat(64)}`,
  seccomp: '{"defaultAction":"SCMP_ACT_ERRNO"}',
  ceilings: {
    isolation: "runsc",
    memoryBytes: 512 * MIB,
    cpus: 0.5,
    pids: 1024,
    freshDiskBytes: 256 * MIB,
    wheels: null,
  },
  data: { kind: "fresh" },
  checkpoints: null,
};
const session: SandboxSpecInput = {
  ...input,
  data: {
    kind: "session",
    session: { kind: "named", tenant: "default", name: "s1" },
    owner: null,
    volume: "librechat_vol_s1",
    copyOwner: false,
  },
};

describe("the create body", () => {
  test.each([
    ["fresh", input],
    ["session", session],
  ])("of a %s sandbox keeps every rule", (_kind, given) => {
    expect(brokenRules(factsOf(sandboxSpec(given)))).toEqual([]);
  });

  test("of a fresh sandbox has a sized data directory in memory and no volume", () => {
    const host = sandboxSpec(input).HostConfig;
    expect(host?.Tmpfs).toEqual({
      "/tmp": "rw,exec,nosuid,nodev,size=67108864,mode=1777",
      "/mnt": "rw,exec,nosuid,nodev,size=65536,mode=0755,uid=10001,gid=10001",
      "/mnt/data": "rw,exec,nosuid,nodev,size=268435456,mode=0770,uid=10001,gid=10001",
    });
    expect(host?.Mounts).toEqual([]);
  });

  test("has the operator's mirror of wheels, read-only, and no other path of the host", () => {
    const offering = (given: SandboxSpecInput): SandboxSpecInput => ({
      ...given,
      ceilings: { ...given.ceilings, wheels: "/srv/wheels" },
    });
    for (const given of [input, session]) {
      const body = sandboxSpec(offering(given));
      expect(body.HostConfig?.Mounts?.at(-1)).toMatchObject({
        Type: "bind",
        Source: "/srv/wheels",
        Target: "/opt/kernelyard/wheels",
        ReadOnly: true,
      });
      expect(brokenRules(factsOf(body))).toEqual([]);
    }
    const facts = factsOf(sandboxSpec(offering(input)));
    const broken = (hostPaths: string[]) => brokenRules({ ...facts, hostPaths }).map(({ id }) => id);
    expect(broken(["/srv/wheels:/opt/kernelyard/wheels:ro"])).toEqual([]);
    for (const path of [
      "/srv/wheels:/opt/kernelyard/wheels",
      "/srv/wheels:/opt/kernelyard/wheels:rw",
      "/:/host:ro",
      "/opt/kernelyard/wheels:ro",
      "/etc:/etc:ro",
    ])
      expect(broken([path]), path).toEqual(["no-host-paths"]);
    expect(broken(["/a:/opt/kernelyard/wheels:ro", "/b:/opt/kernelyard/wheels:ro"])).toEqual([
      "no-host-paths",
    ]);
  });

  test("of a session sandbox mounts its volume and says whose it is", () => {
    const body = sandboxSpec(session);
    expect(body.HostConfig?.Mounts).toMatchObject([
      { Type: "volume", Source: "librechat_vol_s1", Target: "/mnt/session_data" },
    ]);
    expect(body.Labels).toEqual({
      "kernelyard.instance": "instance-of-the-test-",
      "kernelyard.kind": "session",
      "kernelyard.sandbox": "abcdefghijklmnopqrstu",
      "kernelyard.session": "named:default:s1",
      "kernelyard.profile": "default",
      "kernelyard.created": "2026-01-02T00:00:00.000Z",
    });
  });

  test("starts where its callers look for their files: the specification's sessions elsewhere than LibreChat's", () => {
    const runtime: SandboxSpecInput = {
      ...input,
      data: {
        kind: "session",
        session: { kind: "runtime", digest: "d".repeat(21) },
        owner: null,
        volume: `librechat_vol__${"d".repeat(21)}`,
        copyOwner: false,
      },
    };
    const places = [input, session, runtime].map((given) => {
      const { WorkingDir, HostConfig } = sandboxSpec(given);
      return [WorkingDir, HostConfig?.Mounts?.map(({ Target }) => Target)];
    });
    expect(places).toEqual([
      ["/mnt/data", []],
      ["/mnt/session_data", ["/mnt/session_data"]],
      ["/mnt/data", ["/mnt/data"]],
    ]);
  });

  test("has the share that the specification asks for", () => {
    const host = sandboxSpec(input).HostConfig;
    expect(host).toMatchObject({
      Memory: 512 * MIB,
      MemorySwap: 512 * MIB,
      NanoCpus: 500_000_000,
      // An eighth of a service's weight.
      CpuShares: 128,
      PidsLimit: 1024,
    });
    expect(sandboxSpec(input).Env).toEqual(["KERNELYARD_SANDBOX_MEMORY=536870912"]);
  });

  test("by tag is refused", () => {
    expect(() => sandboxSpec({ ...input, imageId: "custom-rce-kernel:latest" })).toThrow(SpecError);
  });

  test("under runc breaks the runtime rule, and is made only where that was asked for", () => {
    const unsafe = sandboxSpec({ ...input, ceilings: { ...input.ceilings, isolation: "runc-unsafe" } });
    expect(brokenRules(factsOf(unsafe)).map((rule) => rule.id)).toEqual(["isolated-runtime"]);
  });
});

/** For each rule, one change of a good body that breaks it and nothing else. */
const BREAKS: Record<string, (body: ContainerCreateOptions) => void> = {
  "isolated-runtime": (b) => host(b, { Runtime: "runc" }),
  "image-by-digest": (b) => Object.assign(b, { Image: "python:3.11" }),
  "non-root": (b) => Object.assign(b, { User: "0:10001" }),
  "not-privileged": (b) => host(b, { Privileged: true }),
  "no-capabilities": (b) => host(b, { CapAdd: ["SYS_ADMIN"] }),
  "no-new-privileges": (b) => host(b, { SecurityOpt: ['seccomp={"a":1}'] }),
  seccomp: (b) => host(b, { SecurityOpt: ["no-new-privileges"] }),
  confined: (b) => host(b, { SecurityOpt: ["no-new-privileges", "seccomp={}", "apparmor=unconfined"] }),
  "read-only-root": (b) => host(b, { ReadonlyRootfs: false }),
  "no-network": (b) => host(b, { NetworkMode: "bridge" }),
  "no-ports": (b) => host(b, { PortBindings: { "80/tcp": [{ HostPort: "80" }] } }),
  "own-ipc": (b) => host(b, { IpcMode: "host" }),
  "own-pid": (b) => host(b, { PidMode: "host" }),
  "own-uts": (b) => host(b, { UTSMode: "host" }),
  "user-namespace": (b) => host(b, { UsernsMode: "host" }),
  "no-devices": (b) =>
    host(b, { Devices: [{ PathOnHost: "/dev/kvm", PathInContainer: "/dev/kvm", CgroupPermissions: "rwm" }] }),
  "no-host-paths": (b) => host(b, { Binds: ["/var/run/docker.sock:/docker.sock"] }),
  "bounded-tmpfs": (b) => host(b, { Tmpfs: { "/tmp": "rw,nosuid,nodev" } }),
  memory: (b) => host(b, { MemorySwap: -1 }),
  cpu: (b) => host(b, { NanoCpus: 0 }),
  pids: (b) => host(b, { PidsLimit: -1 }),
  ulimits: (b) => host(b, { Ulimits: [] }),
  "no-log": (b) => host(b, { LogConfig: { Type: "json-file", Config: {} } }),
  ends: (b) => host(b, { RestartPolicy: { Name: "always" } }),
  owned: (b) => Object.assign(b, { Labels: {} }),
};

function host(body: ContainerCreateOptions, change: ContainerCreateOptions["HostConfig"]): void {
  body.HostConfig = { ...body.HostConfig, ...change };
}

describe("the container rules", () => {
  test("are told apart by id", () => {
    const ids = CONTAINER_RULES.map((rule) => rule.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Object.keys(BREAKS).sort()).toEqual([...ids].sort());
  });

  test.each(Object.entries(BREAKS))("%s is noticed when it is broken, alone", (id, breakIt) => {
    const body = sandboxSpec(input);
    breakIt(body);
    expect(brokenRules(factsOf(body)).map((rule) => rule.id)).toEqual([id]);
  });
});
