/** What the launcher's parts are given in common. */
import type { Logger } from "pino";
import type { Settings } from "../common/settings/read.ts";
import type { SeccompProfile } from "../host/isolation.ts";
import type { Counts } from "./counts.ts";
import type { Engine } from "./engine/engine.ts";
import type { Volumes } from "./volumes/volumes.ts";

export type LauncherSettings = Pick<
  Settings,
  | "isolation"
  | "profile"
  | "image"
  | "profiles"
  | "memoryBytes"
  | "cpus"
  | "pids"
  | "freshDiskBytes"
  | "wheels"
  | "memoryBudgetBytes"
  | "idleMs"
  | "checkpoints"
  | "sleepAfterMs"
  | "sleepDiskBytes"
  | "sessionVolumeTtlMs"
>;

export interface LauncherContext {
  readonly settings: LauncherSettings;
  readonly instance: string;
  readonly engine: Engine;
  readonly volumes: Volumes;
  readonly seccomp: SeccompProfile;
  readonly counts: Counts;
  readonly log: Logger;
  readonly now: () => number;
  /** As `now`, for what is deleted when it is old: a clock that jumps makes nothing old. */
  readonly ageClock: () => number;
  /** Aborted when the launcher stops: nothing new begins. */
  readonly stopping: AbortSignal;
}
