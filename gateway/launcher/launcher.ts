/** The sandboxes of this host: what may be asked of them, and how the launcher's parts work together. */
import { setTimeout as delay } from "node:timers/promises";
import { processFigures } from "../common/process-figures.ts";
import { profileTable } from "../common/profiles.ts";
import type {
  CreateSandbox,
  ForgetVariables,
  LauncherHealth,
  Owned,
  OwnedQuery,
  Sandbox,
  SessionKey,
  SleepingSession,
  Slept,
} from "../common/protocol/launcher-api.ts";
import type { LauncherFigures } from "../common/protocol/launcher-figures.ts";
import { Checkpoints } from "./checkpoints/checkpoints.ts";
import type { CheckpointStore } from "./checkpoints/store.ts";
import type { LauncherContext } from "./context.ts";
import { LABEL, newId, volumeName } from "./engine/labels.ts";
import { memoryUse } from "./engine/memory-use.ts";
import { EngineWatch } from "./engine-watch.ts";
import { LauncherFailure, messageOf } from "./errors.ts";
import { IsolationProof } from "./isolation/proof.ts";
import { Sweep } from "./reconcile/carry-out.ts";
import type { Relay } from "./relay/relay.ts";
import { SandboxArrivals } from "./sandbox/arrivals.ts";
import { SandboxEnds } from "./sandbox/ends.ts";
import { SandboxRegister } from "./sandbox/register.ts";
import { SandboxSaving } from "./sandbox/saving.ts";
import type { SandboxState } from "./sandbox/state.ts";
import { capacityOf, sandboxBytes } from "./spec/capacity.ts";

export type LauncherOptions = Omit<LauncherContext, "now" | "stopping"> & {
  readonly hostMemoryBytes: number;
  readonly checkpointStore: CheckpointStore;
  readonly now?: () => number;
};

const SWEEP_EVERY_MS = 5_000;
const GONE_WITHIN_MS = 10_000;
const LET_GO_WITHIN_MS = 1_000;
/** Of the time to stop: what has not begun to fall asleep then is ended in the rest. */
const SAVING_SHARE = 0.5;

export class Launcher {
  readonly #context: LauncherContext;
  readonly #stopping = new AbortController();
  readonly #capacity: ReturnType<typeof capacityOf>;
  readonly #register: SandboxRegister;
  readonly #ends: SandboxEnds;
  readonly #arrivals: SandboxArrivals;
  readonly #checkpoints: Checkpoints;
  readonly #saving: SandboxSaving;
  readonly #proof: IsolationProof;
  readonly #watch: EngineWatch;
  readonly #sweep: Sweep;
  #timer: NodeJS.Timeout | null = null;

  constructor({ checkpointStore, hostMemoryBytes, now = Date.now, ...options }: LauncherOptions) {
    const context = { ...options, now, stopping: this.#stopping.signal };
    this.#context = context;
    this.#capacity = capacityOf({ ...options.settings, hostMemoryBytes });
    this.#register = new SandboxRegister(now);
    const { ledger } = checkpointStore;
    this.#ends = new SandboxEnds(context, this.#register, ledger, () => void this.#sweepIfUp());
    // Containers that are no sandboxes: probes, templates.
    const reserved = new Set<string>();
    this.#checkpoints = new Checkpoints(context, checkpointStore, reserved);
    this.#arrivals = new SandboxArrivals(context, this.#register, this.#ends, this.#checkpoints);
    this.#saving = new SandboxSaving(context, this.#checkpoints, this.#ends);
    this.#proof = new IsolationProof(context, this.#checkpoints, reserved);
    this.#watch = new EngineWatch(context, {
      up: () => this.#engineIsUp(),
      away: () => this.#proof.forget(),
      event: (event) => this.#ends.heard(event),
    });
    this.#sweep = new Sweep({
      context,
      register: this.#register,
      arrivals: this.#arrivals,
      saving: this.#saving,
      ends: this.#ends,
      checkpoints: checkpointStore,
      reserved,
      engineHangs: (error) => this.#watch.reconnect(error),
    });
  }

  /**
   * Follows the engine from now on. Resolves when the engine was first asked: `away` is not a failure, a host that
   * does not isolate is (`IsolationError`), and so is a missing image (`LauncherFailure`).
   */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#sweepIfUp(), SWEEP_EVERY_MS);
    await this.#watch.start();
  }

  /** `remove`: ends this instance's sandboxes, within `withinMs`; otherwise they are left for the next launcher. */
  async stop(remove: boolean, withinMs: number): Promise<void> {
    this.#stopping.abort();
    this.#proof.stop();
    if (this.#timer !== null) clearInterval(this.#timer);
    if (remove) {
      const removed = this.#removeAll(withinMs).catch((error: unknown) => {
        this.#context.log.warn({ reason: messageOf(error) }, "not all sandboxes could be removed");
      });
      await Promise.race([removed, delay(withinMs)]);
    } else {
      // A template in the making is no sandbox: the next launcher makes its own.
      await Promise.race([this.#removeTemplates().catch(() => {}), delay(GONE_WITHIN_MS)]);
    }
    for (const sandbox of this.#register.all()) sandbox.letGo();
    await this.#watch.stopped();
  }

  /** Asks again which digests the images' names have; running sandboxes keep theirs. */
  async reload(): Promise<void> {
    if (this.#watch.state.state !== "ok") return;
    await this.#proof.resolveImages();
    this.#prepareTemplates();
  }

  async create(request: CreateSandbox): Promise<Sandbox> {
    this.#watch.mustBeUp();
    const { kind, profile } = request;
    if (!profileTable(this.#context.settings).some(({ name }) => name === profile)) {
      throw new LauncherFailure("unknown_profile", `no image profile is named ${profile}`);
    }
    await this.#proof.decided();
    this.#watch.mustBeUp();
    const image = this.#proof.provenImage(profile);
    const session = request.kind === "session" ? request.session : null;
    if (session !== null) {
      await this.#endOfOtherProfile(session, profile);
      await this.#sessionMustBeFree(session);
    }
    const { sandboxes } = this.#capacity;
    if (this.#register.size >= sandboxes) {
      throw new LauncherFailure(
        "host_full",
        `all ${sandboxes} sandboxes that fit into KERNELYARD_MEMORY_BUDGET are taken`,
      );
    }
    const owner = request.kind === "session" ? (request.owner ?? null) : null;
    const tenant = request.kind === "session" ? (request.tenant ?? null) : null;
    const identity = {
      id: newId(),
      kind,
      profile,
      session,
      owner,
      tenant,
      image,
      createdAt: this.#context.now(),
    };
    return (await this.#arrivals.create(identity)).view();
  }

  list(): Sandbox[] {
    return this.#register
      .all()
      .filter((sandbox) => sandbox.phase !== "starting")
      .map((sandbox) => ({ ...sandbox.view(), memory_bytes: memoryUse(sandbox.containerId) }));
  }

  async get(id: string): Promise<Sandbox | null> {
    const sandbox = this.#register.get(id);
    if (sandbox === undefined) return this.#register.remembered(id);
    await sandbox.started;
    return sandbox.view();
  }

  /** The relay to attach a gateway to. Throws `LauncherFailure`. */
  async relayOf(id: string): Promise<Relay> {
    const sandbox = this.#register.get(id);
    if (sandbox === undefined) throw new LauncherFailure("not_found", `no sandbox ${id}`);
    await sandbox.started;
    if (sandbox.phase === "lost") this.#watch.mustBeUp();
    const relay = sandbox.serving;
    if (relay === null) throw new LauncherFailure("not_found", `sandbox ${id} is ${sandbox.phase}`);
    return relay;
  }

  /**
   * Resolves when the container is gone, also when there was none. `lost`: what the session's next sandbox says of its
   * variables; null where whom it concerns knows.
   */
  async kill(id: string, lost: string | null): Promise<void> {
    const sandbox = this.#register.get(id);
    const session = (sandbox?.identity ?? this.#register.remembered(id))?.session ?? null;
    await sandbox?.started;
    if (session !== null) this.#checkpoints.store.ledger.settle(volumeName(session), id, lost);
    if (sandbox !== undefined) await this.#ends.end(sandbox, "killed");
  }

  /** Saves a session's sandbox, with which it ends. Throws `LauncherFailure`. */
  async sleep(id: string): Promise<Slept> {
    const sandbox = this.#register.get(id);
    if (sandbox === undefined) throw new LauncherFailure("not_found", `no sandbox ${id}`);
    await sandbox.started;
    this.#watch.mustBeUp();
    // Its gateway has let go of the stream a moment ago.
    await Promise.race([sandbox.unattended(), delay(LET_GO_WITHIN_MS)]);
    return { state: await this.#saving.sleep(sandbox) };
  }

  async health(): Promise<LauncherHealth> {
    const { settings, seccomp, volumes } = this.#context;
    const digests = this.#proof.images;
    return {
      engine: this.#watch.state,
      isolation: settings.isolation,
      runtime_version: this.#proof.runtimeVersion,
      seccomp_sha256: seccomp.sha256,
      session_disk_quota: volumes.mode,
      session_volume_problem: volumes.problem,
      disk: await volumes.disk(),
      disk_promised: volumes.promised,
      profiles: profileTable(settings).flatMap(({ name, image }) => {
        const digest = digests.get(name);
        return digest === undefined ? [] : [{ name, image, digest }];
      }),
      memory_budget_bytes: this.#capacity.budgetBytes,
      sandbox_memory_bytes: sandboxBytes(settings.memoryBytes),
      sandboxes: this.#register.size,
      capacity: this.#capacity.sandboxes,
      checkpoints: this.#checkpoints.health(),
    };
  }

  /** Removes a session's data. Throws `LauncherFailure`: `not_found` when there was none, `session_exists`. */
  async forget(session: SessionKey): Promise<void> {
    this.#watch.mustBeUp();
    await this.#sessionMustBeFree(session);
    // First: variables never come back to a session that has lost its files.
    await this.#checkpoints.store.removeSession(volumeName(session));
    if (!(await this.#context.volumes.forget(session))) {
      throw new LauncherFailure("not_found", "this session has no data");
    }
  }

  owned(query: OwnedQuery): Promise<Owned> {
    return this.#context.volumes.owned(query);
  }

  /** Removes what was saved of a session asleep. Throws `LauncherFailure`: `not_found` when it does not sleep, `session_exists`. */
  async forgetVariables({ session, lost }: ForgetVariables): Promise<void> {
    await this.#sessionMustBeFree(session);
    const { store } = this.#checkpoints;
    const volume = volumeName(session);
    if (!store.asleep.has(volume)) throw new LauncherFailure("not_found", "this session does not sleep");
    await store.dropSession(volume, lost);
  }

  /** Those whose checkpoints say which they are; longest asleep first. */
  asleep(): SleepingSession[] {
    return this.#checkpoints.store.asleep.list().flatMap(({ savedAt, session }) => {
      if (session === null) return [];
      const { key, owner } = session;
      return [{ session: key, owner, asleep_ms: Math.max(0, this.#context.now() - savedAt) }];
    });
  }

  async figures(): Promise<LauncherFigures> {
    const { counts, volumes } = this.#context;
    const [loopDevices, taken, own] = await Promise.all([
      volumes.loopDevices(),
      volumes.taken(),
      processFigures(),
    ]);
    return { ...counts.get(), loop_devices: loopDevices, session_volumes: taken, process: own };
  }

  /** Whoever asks has another profile now. The files stay. */
  async #endOfOtherProfile(session: SessionKey, profile: string): Promise<void> {
    const present = this.#register.ofSession(session);
    if (present === undefined || present.identity.profile === profile) return;
    await present.started;
    await this.#ends.end(present, "killed");
  }

  async #sessionMustBeFree(session: SessionKey): Promise<void> {
    const present = this.#register.ofSession(session);
    if (present?.phase === "saving" || present?.phase === "ending" || present?.phase === "ended") {
      await Promise.race([present.gone, delay(GONE_WITHIN_MS)]);
    }
    const still = this.#register.ofSession(session);
    if (still === undefined) return;
    throw new LauncherFailure(
      "session_exists",
      `sandbox ${still.identity.id} carries this session`,
      still.identity.id,
    );
  }

  async #putAway(sandbox: SandboxState, until: number): Promise<void> {
    if (sandbox.identity.session !== null && sandbox.used) {
      sandbox.serving?.detach();
      const slept = await this.#saving.sleep(sandbox, until).catch(() => null);
      if (slept === "asleep") return;
    }
    await this.#ends.end(sandbox, "killed");
  }

  async #sweepIfUp(): Promise<void> {
    if (this.#watch.isUp) await this.#sweep.run();
  }

  async #engineIsUp(): Promise<void> {
    // Not awaited one after the other: a container that is hard to remove does not keep new ones waiting.
    const swept = this.#sweepIfUp();
    await this.#proof.prove();
    this.#prepareTemplates();
    await swept;
  }

  /** In the background: until they are there, sandboxes start the cold way. */
  #prepareTemplates(): void {
    const images = [...new Set(this.#proof.images.values())];
    if (images.length > 0 && this.#checkpoints.support !== null) void this.#checkpoints.prepare(images);
  }

  async #removeTemplates(): Promise<void> {
    const { engine, instance } = this.#context;
    const ours = await engine.listContainers(`${LABEL.instance}=${instance}`);
    const templates = ours.filter(({ labels }) => labels[LABEL.kind] === "template");
    await Promise.all(templates.map(({ id }) => this.#ends.removeContainer(id)));
    await this.#checkpoints.atRest();
  }

  /** Sessions sleep as long as there is time for it, all else ends. */
  async #removeAll(withinMs: number): Promise<void> {
    const { engine, instance } = this.#context;
    const until = performance.now() + withinMs * SAVING_SHARE;
    await Promise.allSettled(this.#register.all().map((sandbox) => this.#putAway(sandbox, until)));
    const left = await engine.listContainers(`${LABEL.instance}=${instance}`);
    await Promise.all(left.map((container) => this.#ends.removeContainer(container.id)));
    await this.#checkpoints.atRest();
  }
}
