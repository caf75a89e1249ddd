/** What must be done so that the engine, the disk and our memory agree: a pure plan. The launcher carries it out. */
import type { EngineContainer } from "../engine/engine.ts";
import { type Adoptable, LABEL, readLabels } from "../engine/labels.ts";

export interface KnownSandbox {
  readonly id: string;
  readonly containerId: string | null;
  /** `starting` and `ending` belong to a call in progress; `lost`: its stream broke with the engine. */
  readonly phase: "starting" | "running" | "lost" | "ending";
  readonly kind: "session" | "fresh";
  readonly used: boolean;
  /** Since when no gateway is attached; null while one is. */
  readonly detachedSince: number | null;
  readonly createdAt: number;
  /** Its end was asked for, and the engine did not carry it out. */
  readonly condemned: boolean;
}

export interface Limits {
  readonly idleMs: number;
  /** Null: sessions do not sleep. */
  readonly sleepAfterMs: number | null;
  readonly usedFreshMs: number;
  readonly maxAgeMs: number;
  readonly volumeTtlMs: number;
}

export interface Observation {
  /** By the clock that does not jump: what is older than its time is deleted. */
  readonly now: number;
  readonly limits: Limits;
  /** Taken before the containers were listed: one that ended meanwhile is still here, never the reverse. */
  readonly sandboxes: readonly KnownSandbox[];
  readonly containers: readonly EngineContainer[];
  /** With the time of their last use; empty when they were not looked at. */
  readonly volumes: ReadonlyMap<string, number>;
  /** Volumes of sandboxes that live, start or end. */
  readonly volumesInUse: ReadonlySet<string>;
  readonly strayDevices: readonly string[];
  /** Of sandboxes whose volume takes no further write. */
  readonly failedDisks: ReadonlySet<string>;
  /** Containers that are no sandboxes, and have another owner: probes, templates. */
  readonly reserved: ReadonlySet<string>;
}

export type Step =
  | { readonly step: "adopt"; readonly sandbox: Adoptable }
  | { readonly step: "readopt"; readonly sandboxId: string }
  | { readonly step: "remove-container"; readonly containerId: string; readonly why: string }
  | { readonly step: "forget"; readonly sandboxId: string }
  | { readonly step: "sleep"; readonly sandboxId: string }
  | { readonly step: "expire"; readonly sandboxId: string; readonly why: string }
  | { readonly step: "end-without-disk"; readonly sandboxId: string }
  | { readonly step: "remove-volume"; readonly volume: string; readonly unusedSince: number }
  | { readonly step: "release-device"; readonly path: string };

export function plan(seen: Observation): Step[] {
  const steps: Step[] = [];
  const known = new Map(seen.sandboxes.map((sandbox) => [sandbox.id, sandbox]));
  const present = new Set(seen.containers.map((container) => container.id));
  for (const container of seen.containers) {
    const sandboxId = container.labels[LABEL.sandbox] ?? "";
    if (known.has(sandboxId) || seen.reserved.has(sandboxId)) continue;
    const adoptable = readLabels(container);
    const remove = (why: string) => steps.push({ step: "remove-container", containerId: container.id, why });
    if (adoptable === null) remove("its labels do not name a sandbox");
    else if (container.state !== "running") remove(`it is ${container.state} and nobody starts it`);
    else if (seen.now - adoptable.createdAt > seen.limits.maxAgeMs)
      remove("it is older than any sandbox may be");
    else steps.push({ step: "adopt", sandbox: adoptable });
  }
  for (const sandbox of seen.sandboxes) {
    if (sandbox.phase !== "running" && sandbox.phase !== "lost") continue;
    if (sandbox.containerId === null || !present.has(sandbox.containerId)) {
      steps.push({ step: "forget", sandboxId: sandbox.id });
      continue;
    }
    if (seen.failedDisks.has(sandbox.id)) {
      steps.push({ step: "end-without-disk", sandboxId: sandbox.id });
      continue;
    }
    const why = expired(sandbox, seen);
    if (why !== null) steps.push({ step: "expire", sandboxId: sandbox.id, why });
    else if (sandbox.phase === "lost") steps.push({ step: "readopt", sandboxId: sandbox.id });
    else if (drowsy(sandbox, seen)) steps.push({ step: "sleep", sandboxId: sandbox.id });
  }
  for (const [volume, usedAt] of seen.volumes) {
    const unusedSince = seen.now - seen.limits.volumeTtlMs;
    if (seen.volumesInUse.has(volume) || usedAt >= unusedSince) continue;
    steps.push({ step: "remove-volume", volume, unusedSince });
  }
  for (const path of seen.strayDevices) steps.push({ step: "release-device", path });
  return steps;
}

/** A session that no gateway looks after any more. */
function drowsy({ detachedSince, kind, used }: KnownSandbox, { now, limits }: Observation): boolean {
  if (kind !== "session" || !used || detachedSince === null || limits.sleepAfterMs === null) return false;
  return now - detachedSince > limits.sleepAfterMs;
}

function expired(sandbox: KnownSandbox, { now, limits }: Observation): string | null {
  if (sandbox.condemned) return "the engine did not remove it when it was asked to";
  if (now - sandbox.createdAt > limits.maxAgeMs) return "older than any sandbox may be";
  if (sandbox.detachedSince === null) return null;
  const detached = now - sandbox.detachedSince;
  if (sandbox.kind === "fresh" && sandbox.used && detached > limits.usedFreshMs) {
    return "a used fresh sandbox without a gateway";
  }
  return detached > limits.idleMs ? "no gateway for longer than KERNELYARD_IDLE_MS" : null;
}
