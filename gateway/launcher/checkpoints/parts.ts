/**
 * What a checkpoint was made from, and where it can be restored. gVisor itself refuses another command, user, mount or
 * seccomp filter; a changed library or another build of runsc it does not notice. Pure, but for the CPU's own words.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "@hono/zod-openapi";
import type { ContainerCreateOptions } from "dockerode";
import type { EngineRuntime } from "../engine/engine.ts";

export const CheckpointParts = z
  .object({
    /** Program and arguments of the runtime; the program's path names its digest. */
    runtime: z.string(),
    /** Features of the CPU, sorted. */
    cpu: z.array(z.string()),
    /** The sandbox image, by digest. */
    image: z.string(),
    /** Digest of the create body, without what may be another one at the restore. */
    container: z.string(),
  })
  .strict();
export type CheckpointParts = z.infer<typeof CheckpointParts>;

export function checkpointParts(input: {
  readonly runtime: EngineRuntime;
  readonly cpu: readonly string[];
  readonly body: ContainerCreateOptions;
}): CheckpointParts {
  const { runtime, cpu, body } = input;
  return {
    runtime: [runtime.path ?? "", ...(runtime.runtimeArgs ?? [])].join(" "),
    cpu: [...cpu],
    image: body.Image ?? "",
    container: digest(JSON.stringify(lasting(body))),
  };
}

/** Short, and another one for other parts. */
export function keyOf(parts: CheckpointParts): string {
  return digest(JSON.stringify([parts.runtime, parts.cpu, parts.image, parts.container])).slice(0, 32);
}

/** Why what was saved with `saved` cannot be restored where `present` is, as the end of a sentence; null when it can. */
export function whyNotRestorable(saved: CheckpointParts, present: CheckpointParts): string | null {
  if (saved.image !== present.image) return "the sandbox image was updated";
  if (saved.runtime !== present.runtime) return "the host's gVisor was updated";
  if (saved.container !== present.container) return "the host's settings for sandboxes were changed";
  const features = new Set(present.cpu);
  const missing = saved.cpu.filter((feature) => !features.has(feature));
  if (missing.length === 0) return null;
  return `it slept on another kind of CPU (this one lacks ${missing.slice(0, 3).join(", ")})`;
}

/** What Linux says of the first CPU; empty where it says nothing. */
export function cpuFeatures(path = "/proc/cpuinfo"): string[] {
  // `flags` on x86, `Features` on arm64.
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync(path, "utf8"))?.[1] ?? "";
  return line.split(" ").filter(Boolean).sort();
}

/** Limits, environment, labels and the volume's name may differ; types and options of mounts may not. */
function lasting(body: ContainerCreateOptions): object {
  const { Env: _env, Labels: _labels, HostConfig: host = {}, ...rest } = body;
  const { Memory: _memory, MemorySwap: _swap, NanoCpus: _cpus, PidsLimit: _pids, Mounts, ...kept } = host;
  const mounts = (Mounts ?? []).map(({ Type, Target, ReadOnly }) => ({ Type, Target, ReadOnly }));
  return { ...rest, HostConfig: { ...kept, Mounts: mounts } };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
