/** What the launcher's parts are given, around an engine of the test's own. */
import pino from "pino";
import { DiskReserve } from "../../../gateway/common/disk-space.ts";
import { SHIPPED_SECCOMP_PROFILE, SHIPPED_SECCOMP_SHA256 } from "../../../gateway/host/isolation.ts";
import type { LauncherContext } from "../../../gateway/launcher/context.ts";
import { Counts } from "../../../gateway/launcher/counts.ts";
import type { Engine } from "../../../gateway/launcher/engine/engine.ts";
import { Volumes } from "../../../gateway/launcher/volumes/volumes.ts";

const MIB = 1024 * 1024;

export function contextOf(engine: Engine): LauncherContext {
  return {
    settings: {
      isolation: "runsc",
      profile: "default",
      image: "image",
      profiles: null,
      memoryBytes: 512 * MIB,
      cpus: 0.5,
      pids: 512,
      freshDiskBytes: 64 * MIB,
      wheels: null,
      memoryBudgetBytes: null,
      idleMs: 60_000,
      checkpoints: "auto",
      sleepAfterMs: 60_000,
      sleepDiskBytes: 1024 * MIB,
      sessionVolumeTtlMs: 60_000,
    },
    instance: "instance",
    engine,
    volumes: new Volumes({
      directory: "/nowhere",
      instance: "instance",
      sizeBytes: MIB,
      engine,
      reserve: new DiskReserve("/nowhere", 0),
      now: Date.now,
    }),
    seccomp: { json: SHIPPED_SECCOMP_PROFILE, sha256: SHIPPED_SECCOMP_SHA256 },
    counts: new Counts(),
    log: pino({ level: "silent" }),
    now: Date.now,
    ageClock: Date.now,
    stopping: new AbortController().signal,
  };
}
