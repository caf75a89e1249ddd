import { describe, expect, test } from "vitest";
import {
  type CheckpointParts,
  checkpointParts,
  cpuFeatures,
  keyOf,
  whyNotRestorable,
} from "../../../../gateway/launcher/checkpoints/parts.ts";
import { templateData } from "../../../../gateway/launcher/checkpoints/template.ts";
import { type SandboxSpecInput, sandboxSpec } from "../../../../gateway/launcher/spec/create-body.ts";

const MIB = 1024 * 1024;
const RUNTIME = { path: "/opt/runsc-1", runtimeArgs: ["--platform=systrap"] };

function parts(change: Partial<SandboxSpecInput> = {}): CheckpointParts {
  const body = sandboxSpec({
    id: "abcdefghijklmnopqrstu",
    instance: "instance",
    createdAt: 1,
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
    checkpoints: { key: null },
    ...change,
  });
  return checkpointParts({ runtime: RUNTIME, cpu: ["avx", "fpu"], body });
}

const ceilings = {
  isolation: "runsc",
  memoryBytes: 512 * MIB,
  cpus: 0.5,
  pids: 1024,
  freshDiskBytes: 256 * MIB,
  wheels: null,
} as const;
const session = (name: string, volume: string) => ({
  kind: "session" as const,
  session: { kind: "named" as const, tenant: "default", name },
  volume,
  owner: null,
  copyOwner: false,
});

describe("a checkpoint is good for another container", () => {
  test.each<[string, Partial<SandboxSpecInput>]>([
    ["with another id and age", { id: "z".repeat(21), createdAt: 99 }],
    [
      "with more memory, CPU and threads",
      { ceilings: { ...ceilings, memoryBytes: 1024 * MIB, cpus: 2, pids: 2048 } },
    ],
    ["that says what it is made of", { checkpoints: { key: "k" } }],
  ])("%s", (_what, change) => {
    expect(keyOf(parts(change))).toBe(keyOf(parts()));
  });

  test("of another session, with its own volume", () => {
    const one = parts({ data: session("a", "librechat_vol_a") });
    expect(keyOf(parts({ data: session("b", "librechat_vol_b") }))).toBe(keyOf(one));
    expect(keyOf(parts({ data: templateData("named") }))).toBe(keyOf(one));
  });
});

describe("a checkpoint is no good", () => {
  const saved = parts();
  const runtime = { ...saved, runtime: "/opt/runsc-2 --platform=systrap" };
  test.each<[string, CheckpointParts, string]>([
    ["for another image", parts({ imageId: `sha256:${"b".repeat(64)}` }), "image"],
    ["under another runsc", runtime, "gVisor"],
    ["for another kind of session", parts({ data: templateData("runtime") }), "settings"],
    ["for another kind of sandbox", parts({ data: session("a", "v") }), "settings"],
    ["with another seccomp profile", parts({ seccomp: '{"defaultAction":"SCMP_ACT_ALLOW"}' }), "settings"],
    ["with another size of tmpfs", parts({ ceilings: { ...ceilings, freshDiskBytes: MIB } }), "settings"],
    ["on a CPU that lacks something", { ...saved, cpu: ["fpu"] }, "avx"],
  ])("%s", (_what, present, why) => {
    expect(whyNotRestorable(saved, present)).toContain(why);
    expect(keyOf(present)).not.toBe(keyOf(saved));
  });

  test("but is on a CPU that can more", () => {
    expect(whyNotRestorable(saved, { ...saved, cpu: ["avx", "avx2", "fpu"] })).toBeNull();
  });
});

test("this machine's CPU says what it can", () => {
  expect(cpuFeatures()).toContain(process.arch === "x64" ? "fpu" : "fp");
});
