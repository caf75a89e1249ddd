/** Carries out the reconciler's plan, every few seconds and whenever the engine is there again. */
import type { CheckpointStore } from "../checkpoints/store.ts";
import type { LauncherContext } from "../context.ts";
import { EngineAwayError } from "../engine/engine.ts";
import { LABEL, volumeName } from "../engine/labels.ts";
import { messageOf } from "../errors.ts";
import type { SandboxArrivals } from "../sandbox/arrivals.ts";
import type { SandboxEnds } from "../sandbox/ends.ts";
import type { SandboxRegister } from "../sandbox/register.ts";
import type { SandboxSaving } from "../sandbox/saving.ts";
import type { SandboxState } from "../sandbox/state.ts";
import { type KnownSandbox, type Limits, plan, type Step } from "./plan.ts";

const USED_FRESH_DETACHED_MS = 10_000;
const MAX_AGE_MS = 24 * 3_600_000;
const VOLUMES_EVERY_MS = 600_000;

export interface SweepOptions {
  readonly context: LauncherContext;
  readonly register: SandboxRegister;
  readonly arrivals: SandboxArrivals;
  readonly saving: SandboxSaving;
  readonly ends: SandboxEnds;
  readonly checkpoints: CheckpointStore;
  /** Ids of containers that are no sandboxes and have another owner. */
  readonly reserved: ReadonlySet<string>;
  readonly engineHangs: (error: EngineAwayError) => void;
}

export class Sweep {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #arrivals: SandboxArrivals;
  readonly #ends: SandboxEnds;
  readonly #saving: SandboxSaving;
  readonly #checkpoints: CheckpointStore;
  readonly #reserved: ReadonlySet<string>;
  readonly #engineHangs: (error: EngineAwayError) => void;
  #underWay: Promise<void> | null = null;
  #volumesSeenAt = Number.NEGATIVE_INFINITY;

  constructor(options: SweepOptions) {
    this.#context = options.context;
    this.#register = options.register;
    this.#arrivals = options.arrivals;
    this.#saving = options.saving;
    this.#ends = options.ends;
    this.#checkpoints = options.checkpoints;
    this.#reserved = options.reserved;
    this.#engineHangs = options.engineHangs;
  }

  /** Joins the one that is under way; what fails is left for the next. */
  async run(): Promise<void> {
    this.#underWay ??= this.#reconcile()
      .catch((error: unknown) => {
        this.#context.log.warn({ reason: messageOf(error) }, "reconciliation broke off");
        if (error instanceof EngineAwayError) this.#engineHangs(error);
      })
      .finally(() => {
        this.#underWay = null;
      });
    await this.#underWay;
  }

  async #reconcile(): Promise<void> {
    const { ageClock, engine, instance, log, volumes } = this.#context;
    const sandboxes = this.#register.all().map(known);
    for (const { identity } of this.#register.all()) {
      if (identity.session !== null) await volumes.touch(identity.session);
    }
    const containers = await engine.listContainers(`${LABEL.instance}=${instance}`);
    const volumesSeen = await this.#volumes();
    const steps = plan({
      now: ageClock(),
      limits: this.#limits(),
      sandboxes,
      // What began while the engine was asked is as known as what was there before.
      containers: containers.filter((c) => !this.#isNew(c.labels[LABEL.sandbox], sandboxes)),
      volumes: volumesSeen,
      volumesInUse: this.#volumesInUse(),
      failedDisks: await this.#failedDisks(),
      strayDevices: await volumes.strayDevices(),
      reserved: this.#reserved,
    });
    await Promise.all(
      steps.map((step) =>
        this.#carryOut(step).catch((error: unknown) => {
          log.warn({ ...step, reason: messageOf(error) }, "reconciliation step failed");
        }),
      ),
    );
    await this.#checkpoints.removeUnfinished(
      (id) => this.#register.get(id) !== undefined || this.#reserved.has(id),
    );
  }

  /** They are many and live for weeks: looked at now and then. An engine that does not list them in time is not away. */
  async #volumes(): Promise<ReadonlyMap<string, number>> {
    const none = new Map<string, number>();
    const every = Math.min(VOLUMES_EVERY_MS, this.#context.settings.sessionVolumeTtlMs / 100);
    if (performance.now() - this.#volumesSeenAt < every) return none;
    try {
      const seen = await this.#context.volumes.list();
      this.#volumesSeenAt = performance.now();
      return seen;
    } catch (error) {
      this.#context.log.warn({ reason: messageOf(error) }, "session volumes could not be listed");
      this.#volumesSeenAt = performance.now();
      return none;
    }
  }

  async #failedDisks(): Promise<ReadonlySet<string>> {
    const failed = await this.#context.volumes.failed();
    const ids = this.#register.all().flatMap(({ identity }) => {
      return identity.session !== null && failed.has(volumeName(identity.session)) ? [identity.id] : [];
    });
    return new Set(ids);
  }

  #isNew(sandboxId: string | undefined, before: readonly KnownSandbox[]): boolean {
    return (
      sandboxId !== undefined &&
      this.#register.get(sandboxId) !== undefined &&
      !before.some((sandbox) => sandbox.id === sandboxId)
    );
  }

  #limits(): Limits {
    const { idleMs, sessionVolumeTtlMs, sleepAfterMs } = this.#context.settings;
    return {
      idleMs,
      sleepAfterMs: sleepAfterMs === 0 || !this.#saving.possible ? null : sleepAfterMs,
      usedFreshMs: USED_FRESH_DETACHED_MS,
      maxAgeMs: MAX_AGE_MS,
      volumeTtlMs: sessionVolumeTtlMs,
    };
  }

  #volumesInUse(): Set<string> {
    const names = this.#register
      .all()
      .flatMap(({ identity }) => (identity.session === null ? [] : [volumeName(identity.session)]));
    return new Set(names);
  }

  async #carryOut(step: Step): Promise<void> {
    const { counts, log, volumes } = this.#context;
    switch (step.step) {
      case "adopt":
        return this.#arrivals.adopt(step.sandbox);
      case "readopt":
        return this.#arrivals.readopt(step.sandboxId);
      case "remove-container":
        log.info({ container: step.containerId, why: step.why }, "removing a container nobody owns");
        counts.orphan("containers");
        return this.#ends.removeContainer(step.containerId);
      case "forget": {
        const sandbox = this.#register.get(step.sandboxId);
        if (sandbox !== undefined) this.#ends.vanished(sandbox);
        return;
      }
      case "sleep": {
        const sandbox = this.#register.get(step.sandboxId);
        if (sandbox !== undefined) await this.#saving.sleep(sandbox);
        return;
      }
      case "expire": {
        const sandbox = this.#register.get(step.sandboxId);
        if (sandbox !== undefined) await this.#ends.end(sandbox, "expired", step.why);
        return;
      }
      case "end-without-disk": {
        const sandbox = this.#register.get(step.sandboxId);
        if (sandbox === undefined) return;
        log.error({ sandbox: step.sandboxId }, "the file system of a session has failed: is the disk full?");
        await this.#ends.end(sandbox, "disk_failed", "its file system takes no further write");
        return;
      }
      case "remove-volume":
        if (this.#volumesInUse().has(step.volume)) return;
        log.info({ volume: step.volume }, "removing a session volume past its time");
        if (await volumes.remove(step.volume, step.unusedSince)) {
          await this.#checkpoints.removeSession(step.volume);
        }
        return;
      case "release-device":
        log.info({ device: step.path }, "releasing a loop device nobody owns");
        counts.orphan("devices");
        return volumes.releaseDevice(step.path);
    }
  }
}

function known(sandbox: SandboxState): KnownSandbox {
  const { condemned, containerId, detachedSince, phase, used } = sandbox;
  const { createdAt, id, kind } = sandbox.identity;
  return {
    id,
    containerId,
    // One that has ended is being cleared, one that is being saved ends: its container is nobody else's business.
    phase: phase === "ended" || phase === "saving" ? "ending" : phase,
    kind,
    used,
    detachedSince,
    createdAt,
    condemned,
  };
}
