/** The sandboxes of this host: makes, attaches, ends and remembers them, and keeps engine, disk and memory in agreement. */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { CreateSandbox, LauncherHealth, Sandbox, SandboxEnd } from "../protocol/launcher-api.ts";
import type { Settings } from "../settings/read.ts";
import { capacityOf, sandboxBytes } from "./capacity.ts";
import { cpuShareOf, cpuShareOfProcess } from "./cpu-share.ts";
import { type Engine, EngineAwayError, type EngineEvent, EngineRefusedError } from "./engine.ts";
import { LauncherFailure } from "./errors.ts";
import { killContainerProcesses } from "./hard-kill.ts";
import { IsolationError, probeIsolation, type SeccompProfile } from "./isolation.ts";
import { containerName, encodeSession, LABEL, newId, volumeName } from "./labels.ts";
import { type Adoptable, type KnownSandbox, type Limits, plan, type Step } from "./reconciler.ts";
import { Relay } from "./relay.ts";
import { SandboxState } from "./sandbox.ts";
import { sandboxSpec } from "./sandbox-spec.ts";
import { VolumeError, type Volumes } from "./volumes.ts";

export type LauncherSettings = Pick<
  Settings,
  | "isolation"
  | "image"
  | "memoryBytes"
  | "cpus"
  | "pids"
  | "freshDiskBytes"
  | "memoryBudgetBytes"
  | "idleMs"
  | "sessionVolumeTtlMs"
>;

export interface LauncherOptions {
  readonly settings: LauncherSettings;
  readonly instance: string;
  readonly engine: Engine;
  readonly volumes: Volumes;
  readonly seccomp: SeccompProfile;
  readonly log: Logger;
  readonly hostMemoryBytes: number;
  readonly now?: () => number;
}

type EngineState = LauncherHealth["engine"];
type Isolation =
  | { readonly state: "unproven" }
  | { readonly state: "proven"; readonly runtimeVersion: string }
  | { readonly state: "refused"; readonly message: string };

const DEFAULT_PROFILE = "default";
const REMEMBER_ENDED_MS = 60_000;
const REMEMBER_ENDED_MAX = 512;
/** The CPU share is back at the latest this long after the start. */
const CPU_LIFTED_MAX_MS = 30_000;
/** Between the end of the stream and the engine's word about the container, either way round. */
const SETTLE_MS = 1_000;
/** The engine needs 0.1 s; after this it is stuck. */
const ENGINE_KILLS_WITHIN_MS = 5_000;
const GONE_WITHIN_MS = 10_000;
const HELLO_WITHIN_MS = 2_000;
const PROVEN_WITHIN_MS = 30_000;
/** An older word of the kernel does not explain this death. */
const OOM_EXPLAINS_MS = 10_000;
const KILLED_EXIT_CODE = 137;
const RECONCILE_EVERY_MS = 5_000;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;
const USED_FRESH_DETACHED_MS = 10_000;
const MAX_AGE_MS = 24 * 3_600_000;
const MAX_DIAGNOSTICS_BYTES = 8 * 1024;

export class Launcher {
  readonly #options: LauncherOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #stopping = new AbortController();
  readonly #sandboxes = new Map<string, SandboxState>();
  readonly #byContainer = new Map<string, SandboxState>();
  readonly #bySession = new Map<string, SandboxState>();
  readonly #probes = new Set<string>();
  #remembered: { readonly sandbox: Sandbox; readonly until: number }[] = [];
  #engine: EngineState = { state: "away", message: "the engine has not been asked yet" };
  #isolation: Isolation = { state: "unproven" };
  #ready = Promise.withResolvers<void>();
  #imageId: string | null = null;
  #reconciling: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #watching: Promise<void> | null = null;
  /** Ends the present connection to the engine, so that the next one is tried. */
  #connection = new AbortController();

  constructor(options: LauncherOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Follows the engine from now on. Resolves when the engine was first asked: `away` is not a failure, a host that
   * does not isolate is (`IsolationError`), and so is a missing image (`LauncherFailure`).
   */
  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#watching = this.#watch(first);
    this.#timer = setInterval(() => void this.#reconcileQuietly(), RECONCILE_EVERY_MS);
    await first.promise;
  }

  /** `remove`: ends this instance's sandboxes, within `withinMs`; otherwise they are left for the next launcher. */
  async stop(remove: boolean, withinMs: number): Promise<void> {
    this.#stopping.abort();
    if (this.#timer !== null) clearInterval(this.#timer);
    if (remove) {
      const removed = this.#removeAll().catch((error: unknown) => {
        this.#log.warn({ reason: messageOf(error) }, "not all sandboxes could be removed");
      });
      await Promise.race([removed, delay(withinMs)]);
    }
    for (const sandbox of this.#sandboxes.values()) {
      sandbox.clearTimers();
      sandbox.relay?.close();
    }
    await this.#watching;
  }

  /** Asks again which digest the image's name has; running sandboxes keep theirs. */
  async reload(): Promise<void> {
    if (this.#engine.state === "ok") await this.#resolveImage();
  }

  async create(request: CreateSandbox): Promise<Sandbox> {
    const { settings } = this.#options;
    this.#mustBeUp();
    if (request.profile !== DEFAULT_PROFILE) {
      throw new LauncherFailure("unknown_profile", `no image profile is named ${request.profile}`);
    }
    await this.#mustBeProven();
    const image = this.#mustHaveImage();
    const session = request.kind === "session" ? request.session : null;
    if (session !== null) await this.#sessionMustBeFree(encodeSession(session));
    const capacity = this.#capacity();
    if (this.#sandboxes.size >= capacity) {
      throw new LauncherFailure(
        "host_full",
        `all ${capacity} sandboxes that fit into KERNELYARD_MEMORY_BUDGET are taken`,
      );
    }
    const { kind, profile } = request;
    const identity = { id: newId(), kind, profile, session, image, createdAt: this.#now() };
    const sandbox = new SandboxState(identity, false, this.#now());
    this.#register(sandbox);
    const beganAt = performance.now();
    try {
      await this.#startContainer(sandbox);
    } catch (error) {
      await this.#abandon(sandbox, error);
      throw startFailure(error);
    }
    this.#log.info(
      {
        sandbox: identity.id,
        container: sandbox.containerId,
        kind,
        profile,
        image,
        ms: Math.round(performance.now() - beganAt),
        cpu: settings.cpus,
      },
      "sandbox started",
    );
    return sandbox.view();
  }

  list(): Sandbox[] {
    return [...this.#sandboxes.values()]
      .filter((sandbox) => sandbox.phase !== "starting")
      .map((sandbox) => sandbox.view());
  }

  async get(id: string): Promise<Sandbox | null> {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox !== undefined) {
      await sandbox.started;
      return sandbox.view();
    }
    this.#forgetOld();
    return this.#remembered.find((ended) => ended.sandbox.id === id)?.sandbox ?? null;
  }

  /** The relay to attach a gateway to. Throws `LauncherFailure`. */
  async relayOf(id: string): Promise<Relay> {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) throw new LauncherFailure("not_found", `no sandbox ${id}`);
    await sandbox.started;
    if (sandbox.phase === "lost") this.#mustBeUp();
    if (sandbox.phase !== "running" || sandbox.relay === null) {
      throw new LauncherFailure("not_found", `sandbox ${id} is ${sandbox.phase}`);
    }
    return sandbox.relay;
  }

  /** Resolves when the container is gone, also when there was none. */
  async kill(id: string): Promise<void> {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    await sandbox.started;
    await this.#end(sandbox, "killed");
  }

  health(): LauncherHealth {
    const { settings, seccomp, volumes } = this.#options;
    return {
      engine: this.#engine,
      isolation: settings.isolation,
      runtime_version: this.#isolation.state === "proven" ? this.#isolation.runtimeVersion : "",
      seccomp_sha256: seccomp.sha256,
      session_disk_quota: volumes.mode,
      profiles:
        this.#imageId === null
          ? []
          : [{ name: DEFAULT_PROFILE, image: settings.image, digest: this.#imageId }],
      memory_budget_bytes: this.#budget(),
      sandbox_memory_bytes: sandboxBytes(settings.memoryBytes),
      sandboxes: this.#sandboxes.size,
      capacity: this.#capacity(),
    };
  }

  // ------------------------------------------------------------------------------------------------ one sandbox

  async #startContainer(sandbox: SandboxState): Promise<void> {
    const { engine, instance, seccomp, settings, volumes } = this.#options;
    const { id, session } = sandbox.identity;
    const lease = session === null ? null : await volumes.acquire(session);
    try {
      const body = sandboxSpec({
        id,
        instance,
        createdAt: sandbox.identity.createdAt,
        profile: sandbox.identity.profile,
        imageId: sandbox.identity.image,
        seccomp: seccomp.json,
        ceilings: settings,
        data:
          session === null || lease === null
            ? { kind: "fresh" }
            : { kind: "session", session, volume: lease.volume, copyOwner: lease.copyOwner },
      });
      const containerId = await engine.createContainer(containerName(id), body);
      this.#bind(sandbox, containerId);
      // Attached before it starts: not a byte of the supervisor's is lost.
      sandbox.relay = this.#relay(sandbox, await engine.attach(containerId));
      await engine.startContainer(containerId);
      sandbox.cpu = await this.#cpuOf(containerId);
      this.#liftCpu(sandbox);
    } finally {
      await lease?.release();
    }
    if (sandbox.died !== null || sandbox.cause !== null) {
      throw new LauncherFailure(
        "sandbox_failed",
        sandbox.cause?.detail ??
          `the supervisor ended with exit code ${sandbox.died?.exitCode} while it started`,
      );
    }
    this.#running(sandbox);
  }

  #running(sandbox: SandboxState): void {
    sandbox.phase = "running";
    sandbox.detachedSince = this.#now();
    sandbox.markStarted();
    this.#settle(sandbox);
  }

  async #cpuOf(containerId: string) {
    const { engine, settings } = this.#options;
    const share = cpuShareOf(containerId, settings.cpus);
    if (share !== null) return share;
    const pid = await engine.pid(containerId);
    return pid === null ? null : cpuShareOfProcess(pid, settings.cpus);
  }

  #liftCpu(sandbox: SandboxState): void {
    const { cpu } = sandbox;
    if (cpu === null) return;
    try {
      cpu.lift();
    } catch (error) {
      // It starts slower, that is all.
      this.#log.debug({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "CPU share not lifted");
      sandbox.cpu = null;
      return;
    }
    sandbox.cpuTimer = setTimeout(() => this.#restoreCpu(sandbox), CPU_LIFTED_MAX_MS);
  }

  /** A sandbox whose share cannot be put back must not run user code. */
  #restoreCpu(sandbox: SandboxState): void {
    const { cpu } = sandbox;
    sandbox.cpu = null;
    if (sandbox.cpuTimer !== null) clearTimeout(sandbox.cpuTimer);
    sandbox.cpuTimer = null;
    try {
      cpu?.restore();
    } catch (error) {
      this.#endQuietly(sandbox, "killed", `its CPU share could not be put back: ${messageOf(error)}`);
    }
  }

  #relay(sandbox: SandboxState, stream: ConstructorParameters<typeof Relay>[0]): Relay {
    let diagnostics = 0;
    const relay = new Relay(
      stream,
      {
        firstExecute: () => {
          sandbox.used = true;
          this.#restoreCpu(sandbox);
        },
        attachedChanged: (attached) => {
          sandbox.detachedSince = attached ? null : this.#now();
        },
        broken: (message) => this.#endQuietly(sandbox, "protocol_error", message),
        ended: () => {
          if (sandbox.relay !== relay) return;
          sandbox.streamEnded = true;
          this.#settle(sandbox);
        },
        diagnostics: (slice) => {
          if (diagnostics >= MAX_DIAGNOSTICS_BYTES) return;
          diagnostics += slice.length;
          const text = slice.toString("utf8", 0, Math.min(slice.length, MAX_DIAGNOSTICS_BYTES));
          this.#log.debug({ sandbox: sandbox.identity.id, text }, "supervisor diagnostics");
        },
      },
      sandbox.used,
    );
    sandbox.streamEnded = false;
    return relay;
  }

  /** Brings together what the stream and the engine say about an end; either may come first. */
  #settle(sandbox: SandboxState): void {
    if (sandbox.phase === "starting" || sandbox.phase === "ended") return;
    if (sandbox.died === null && !sandbox.streamEnded) return;
    if (sandbox.died !== null && sandbox.streamEnded) {
      this.#finish(sandbox);
      return;
    }
    if (sandbox.settleTimer !== null) return;
    sandbox.settleTimer = setTimeout(() => {
      sandbox.settleTimer = null;
      if (sandbox.died !== null) this.#finish(sandbox);
      else if (sandbox.phase === "running" && sandbox.streamEnded) this.#lose(sandbox);
    }, SETTLE_MS);
  }

  /** The stream broke and the engine does not say why: it is away, or came back without us hearing. */
  #lose(sandbox: SandboxState): void {
    sandbox.phase = "lost";
    sandbox.relay?.close();
    sandbox.relay = null;
    this.#log.warn({ sandbox: sandbox.identity.id }, "stream to sandbox lost");
    if (this.#engine.state === "ok") void this.#reconcileQuietly();
  }

  #finish(sandbox: SandboxState): void {
    if (sandbox.phase === "ended") return;
    sandbox.phase = "ended";
    sandbox.clearTimers();
    const exitCode = sandbox.died?.exitCode ?? null;
    const cause = sandbox.cause ?? this.#causeOfDeath(sandbox, exitCode);
    const end: SandboxEnd = {
      reason: cause.reason,
      exit_code: exitCode,
      ...(cause.detail === undefined ? {} : { detail: cause.detail }),
    };
    sandbox.ended = end;
    sandbox.relay?.close();
    this.#log.info({ sandbox: sandbox.identity.id, ...end }, "sandbox ended");
    void this.#clear(sandbox);
  }

  #causeOfDeath(sandbox: SandboxState, exitCode: number | null): NonNullable<SandboxState["cause"]> {
    const oom = sandbox.oomAt !== null && this.#now() - sandbox.oomAt < OOM_EXPLAINS_MS;
    if (oom && exitCode === KILLED_EXIT_CODE) {
      return { reason: "out_of_memory", detail: "killed by the host's kernel at its memory limit" };
    }
    return { reason: "exited", detail: "process 1 of the sandbox ended by itself" };
  }

  /** After the end: waits until container and mounts are gone, then gives up session and memory. */
  async #clear(sandbox: SandboxState): Promise<void> {
    const { volumes } = this.#options;
    const { session } = sandbox.identity;
    try {
      if (sandbox.containerId !== null) await this.#removeContainer(sandbox.containerId);
      if (session !== null) {
        await volumes.touch(session);
        if (!(await volumes.freed(session))) {
          this.#log.warn({ sandbox: sandbox.identity.id }, "session volume is still mounted");
        }
      }
    } catch (error) {
      this.#log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "left for the next sweep");
    }
    this.#unregister(sandbox);
    sandbox.markGone();
  }

  async #end(sandbox: SandboxState, reason: SandboxEnd["reason"], detail?: string): Promise<void> {
    if (sandbox.phase === "ended") {
      await sandbox.gone;
      return;
    }
    sandbox.cause ??= detail === undefined ? { reason } : { reason, detail };
    const before = sandbox.phase;
    sandbox.phase = "ending";
    try {
      if (sandbox.containerId !== null) await this.#removeContainer(sandbox.containerId);
    } catch (error) {
      if (sandbox.ended === null) sandbox.phase = before === "starting" ? "lost" : before;
      throw startFailure(error);
    }
    this.#finish(sandbox);
    await sandbox.gone;
  }

  #endQuietly(sandbox: SandboxState, reason: SandboxEnd["reason"], detail: string): void {
    this.#log.warn({ sandbox: sandbox.identity.id, reason, detail }, "sandbox is being ended");
    sandbox.cause ??= { reason, detail };
    sandbox.relay?.close();
    // While it starts, the start itself sees the cause.
    if (sandbox.phase === "starting") return;
    this.#end(sandbox, reason, detail).catch((error: unknown) => {
      this.#log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "left for the next sweep");
    });
  }

  /** A sandbox that did not come up: nothing of it stays. */
  async #abandon(sandbox: SandboxState, error: unknown): Promise<void> {
    this.#log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "sandbox did not start");
    sandbox.clearTimers();
    sandbox.phase = "ended";
    sandbox.cause ??= { reason: "exited", detail: messageOf(error) };
    sandbox.ended = { reason: sandbox.cause.reason, exit_code: sandbox.died?.exitCode ?? null };
    sandbox.relay?.close();
    await this.#clear(sandbox);
  }

  /** Resolves when the container is gone; one that the engine cannot end is killed from the host. */
  async #removeContainer(containerId: string): Promise<void> {
    const harder = setTimeout(() => {
      const processes = killContainerProcesses(containerId);
      this.#log.warn(
        { container: containerId, processes },
        "the engine does not end it: killed from the host",
      );
    }, ENGINE_KILLS_WITHIN_MS);
    try {
      await this.#options.engine.removeContainer(containerId);
    } finally {
      clearTimeout(harder);
    }
  }

  // ------------------------------------------------------------------------------------------------ the register

  #register(sandbox: SandboxState): void {
    this.#sandboxes.set(sandbox.identity.id, sandbox);
    const { session } = sandbox.identity;
    if (session !== null) this.#bySession.set(encodeSession(session), sandbox);
  }

  #bind(sandbox: SandboxState, containerId: string): void {
    sandbox.containerId = containerId;
    this.#byContainer.set(containerId, sandbox);
  }

  #unregister(sandbox: SandboxState): void {
    const { id, session } = sandbox.identity;
    this.#sandboxes.delete(id);
    if (sandbox.containerId !== null) this.#byContainer.delete(sandbox.containerId);
    if (session !== null && this.#bySession.get(encodeSession(session)) === sandbox) {
      this.#bySession.delete(encodeSession(session));
    }
    this.#forgetOld();
    this.#remembered.push({ sandbox: sandbox.view(), until: this.#now() + REMEMBER_ENDED_MS });
  }

  #forgetOld(): void {
    const now = this.#now();
    this.#remembered = this.#remembered.filter((ended) => ended.until > now).slice(-REMEMBER_ENDED_MAX);
  }

  async #sessionMustBeFree(key: string): Promise<void> {
    const present = this.#bySession.get(key);
    if (present === undefined) return;
    if (present.phase === "ending" || present.phase === "ended") {
      await Promise.race([present.gone, delay(GONE_WITHIN_MS)]);
    }
    const still = this.#bySession.get(key);
    if (still === undefined) return;
    throw new LauncherFailure(
      "session_exists",
      `sandbox ${still.identity.id} carries this session`,
      still.identity.id,
    );
  }

  #budget(): number {
    const { settings, hostMemoryBytes } = this.#options;
    return capacityOf({ ...settings, hostMemoryBytes }).budgetBytes;
  }

  #capacity(): number {
    const { settings, hostMemoryBytes } = this.#options;
    return capacityOf({ ...settings, hostMemoryBytes }).sandboxes;
  }

  #mustBeUp(): void {
    if (this.#stopping.signal.aborted) {
      throw new LauncherFailure("engine_unavailable", "the launcher is stopping");
    }
    if (this.#engine.state === "away") throw new LauncherFailure("engine_unavailable", this.#engine.message);
  }

  async #mustBeProven(): Promise<void> {
    if (this.#isolation.state === "unproven") {
      await Promise.race([this.#ready.promise, delay(PROVEN_WITHIN_MS)]);
    }
    this.#mustBeUp();
    if (this.#isolation.state === "proven") return;
    const message =
      this.#isolation.state === "refused" ? this.#isolation.message : "isolation has not been proven yet";
    throw new LauncherFailure("isolation_refused", message);
  }

  #mustHaveImage(): string {
    if (this.#imageId !== null) return this.#imageId;
    throw missingImage(this.#options.settings.image);
  }

  // ------------------------------------------------------------------------------------------------ the engine

  async #watch(first: PromiseWithResolvers<void>): Promise<void> {
    const { engine, instance } = this.#options;
    const { signal } = this.#stopping;
    const label = `${LABEL.instance}=${instance}`;
    let backoff = FIRST_BACKOFF_MS;
    while (!signal.aborted) {
      try {
        this.#connection = new AbortController();
        const events = await engine.events(label, AbortSignal.any([signal, this.#connection.signal]));
        const { version } = await engine.version();
        this.#engine = { state: "ok", version };
        this.#log.info({ version }, "engine is there");
        backoff = FIRST_BACKOFF_MS;
        this.#engineIsUp().then(first.resolve, first.reject);
        for await (const event of events) this.#event(event);
        this.#engineIsAway("the Docker engine closed its event stream");
      } catch (error) {
        this.#engineIsAway(messageOf(error));
      }
      first.resolve();
      await delay(backoff, undefined, { signal }).catch(() => {});
      backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS);
    }
  }

  #engineIsAway(message: string): void {
    if (this.#stopping.signal.aborted) return;
    if (this.#engine.state === "ok") this.#log.error({ reason: message }, "engine is away");
    this.#engine = { state: "away", message };
    // It may come back as another engine: proven again before the next sandbox.
    if (this.#isolation.state !== "unproven") {
      this.#isolation = { state: "unproven" };
      this.#ready = Promise.withResolvers();
    }
  }

  async #engineIsUp(): Promise<void> {
    // Not awaited one after the other: a container that is hard to remove does not keep new ones waiting.
    const reconciled = this.#reconcileQuietly();
    try {
      await this.#resolveImage();
      await this.#prove();
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const message = messageOf(error);
      this.#log.error({ reason: message }, "sandboxes cannot be made");
      if (error instanceof EngineAwayError) return;
      this.#isolation = { state: "refused", message };
      throw error;
    } finally {
      this.#ready.resolve();
    }
    await reconciled;
  }

  async #resolveImage(): Promise<void> {
    const { engine, settings } = this.#options;
    const imageId = await engine.imageId(settings.image);
    if (imageId === null) throw missingImage(settings.image);
    if (imageId !== this.#imageId)
      this.#log.info({ image: settings.image, digest: imageId }, "sandbox image");
    this.#imageId = imageId;
  }

  async #prove(): Promise<void> {
    const { engine, instance, seccomp, settings } = this.#options;
    const probeId = newId();
    this.#probes.add(probeId);
    try {
      const { runtimeVersion } = await probeIsolation({
        id: probeId,
        engine,
        instance,
        imageId: this.#mustHaveImage(),
        seccomp,
        ceilings: settings,
      });
      this.#isolation = { state: "proven", runtimeVersion };
      if (settings.isolation === "runc-unsafe") {
        this.#log.warn("KERNELYARD_ISOLATION=runc-unsafe: user code shares the host's kernel");
      }
      this.#log.info({ isolation: settings.isolation, runtimeVersion }, "isolation is proven");
    } catch (error) {
      if (!(error instanceof EngineRefusedError)) throw error;
      throw new IsolationError(`The probe container was refused: ${error.message}`, { cause: error });
    } finally {
      this.#probes.delete(probeId);
    }
  }

  #event(event: EngineEvent): void {
    const sandbox = this.#byContainer.get(event.containerId);
    if (sandbox === undefined) return;
    if (event.type === "oom") sandbox.oomAt = this.#now();
    if (event.type === "die") sandbox.died ??= { exitCode: event.exitCode };
    if (event.type === "destroy") sandbox.died ??= { exitCode: null };
    this.#settle(sandbox);
  }

  // ------------------------------------------------------------------------------------------------ reconciliation

  async #reconcileQuietly(): Promise<void> {
    if (this.#engine.state !== "ok" || this.#stopping.signal.aborted) return;
    this.#reconciling ??= this.#reconcile()
      .catch((error: unknown) => {
        this.#log.warn({ reason: messageOf(error) }, "reconciliation broke off");
        // An engine that hangs keeps its connections: it is as good as away.
        if (error instanceof EngineAwayError) this.#connection.abort(error);
      })
      .finally(() => {
        this.#reconciling = null;
      });
    await this.#reconciling;
  }

  async #reconcile(): Promise<void> {
    const { engine, instance, volumes } = this.#options;
    const sandboxes = [...this.#sandboxes.values()].flatMap((sandbox) => known(sandbox));
    for (const { identity } of this.#sandboxes.values()) {
      if (identity.session !== null) await volumes.touch(identity.session);
    }
    const containers = await engine.listContainers(`${LABEL.instance}=${instance}`);
    const volumesSeen = await volumes.list();
    const steps = plan({
      now: this.#now(),
      limits: this.#limits(),
      sandboxes,
      // What began while the engine was asked is as known as what was there before.
      containers: containers.filter((c) => !this.#isNew(c.labels[LABEL.sandbox], sandboxes)),
      volumes: volumesSeen,
      volumesInUse: this.#volumesInUse(),
      strayDevices: await volumes.strayDevices(),
      probes: this.#probes,
    });
    await Promise.all(
      steps.map((step) =>
        this.#carryOut(step).catch((error: unknown) => {
          this.#log.warn({ ...step, reason: messageOf(error) }, "reconciliation step failed");
        }),
      ),
    );
  }

  #isNew(sandboxId: string | undefined, before: readonly KnownSandbox[]): boolean {
    return (
      sandboxId !== undefined &&
      this.#sandboxes.has(sandboxId) &&
      !before.some((sandbox) => sandbox.id === sandboxId)
    );
  }

  #limits(): Limits {
    const { idleMs, sessionVolumeTtlMs } = this.#options.settings;
    return {
      idleMs,
      usedFreshMs: USED_FRESH_DETACHED_MS,
      maxAgeMs: MAX_AGE_MS,
      volumeTtlMs: sessionVolumeTtlMs,
    };
  }

  #volumesInUse(): Set<string> {
    const names = [...this.#sandboxes.values()].flatMap(({ identity }) =>
      identity.session === null ? [] : [volumeName(identity.session)],
    );
    return new Set(names);
  }

  async #carryOut(step: Step): Promise<void> {
    const { volumes } = this.#options;
    switch (step.step) {
      case "adopt":
        return this.#adopt(step.sandbox);
      case "readopt":
        return this.#readopt(step.sandboxId);
      case "remove-container":
        this.#log.info({ container: step.containerId, why: step.why }, "removing a container nobody owns");
        return this.#removeContainer(step.containerId);
      case "forget": {
        const sandbox = this.#sandboxes.get(step.sandboxId);
        if (sandbox === undefined || (sandbox.phase !== "running" && sandbox.phase !== "lost")) return;
        sandbox.cause ??= {
          reason: "engine_lost",
          detail: "its container was gone when the engine was asked",
        };
        return this.#finish(sandbox);
      }
      case "expire": {
        const sandbox = this.#sandboxes.get(step.sandboxId);
        if (sandbox !== undefined) await this.#end(sandbox, "expired", step.why);
        return;
      }
      case "remove-volume":
        if (this.#volumesInUse().has(step.volume)) return;
        this.#log.info({ volume: step.volume }, "removing a session volume past its time");
        return volumes.remove(step.volume);
      case "release-device":
        this.#log.info({ device: step.path }, "releasing a loop device nobody owns");
        return volumes.releaseDevice(step.path);
    }
  }

  /** Takes over a container of a launcher before us. What it was used for is unknown: it counts as used. */
  async #adopt(found: Adoptable): Promise<void> {
    if (this.#stopping.signal.aborted || this.#sandboxes.has(found.sandboxId)) return;
    const { kind, profile, session, createdAt } = found;
    if (session !== null && this.#bySession.has(encodeSession(session))) {
      return this.#removeContainer(found.containerId);
    }
    const identity = { id: found.sandboxId, kind, profile, session, image: found.imageId, createdAt };
    const sandbox = new SandboxState(identity, true, this.#now());
    this.#register(sandbox);
    this.#bind(sandbox, found.containerId);
    await this.#takeOver(sandbox);
  }

  async #readopt(id: string): Promise<void> {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox?.phase !== "lost") return;
    await this.#takeOver(sandbox);
  }

  async #takeOver(sandbox: SandboxState): Promise<void> {
    const { engine } = this.#options;
    const { containerId } = sandbox;
    if (containerId === null) return;
    try {
      (await this.#cpuOf(containerId))?.restore();
      const relay = this.#relay(sandbox, await engine.attach(containerId));
      sandbox.relay = relay;
      if (await relay.probe(HELLO_WITHIN_MS)) {
        this.#log.info({ sandbox: sandbox.identity.id, container: containerId }, "sandbox adopted");
        this.#running(sandbox);
        return;
      }
    } catch (error) {
      this.#log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "sandbox not adopted");
    }
    sandbox.relay?.close();
    sandbox.relay = null;
    sandbox.markStarted();
    await this.#end(sandbox, "engine_lost", "its supervisor gave no answer when its stream was taken over");
  }

  async #removeAll(): Promise<void> {
    const { engine, instance } = this.#options;
    await Promise.allSettled([...this.#sandboxes.values()].map((sandbox) => this.#end(sandbox, "killed")));
    const left = await engine.listContainers(`${LABEL.instance}=${instance}`);
    await Promise.all(left.map((container) => this.#removeContainer(container.id)));
  }
}

function known(sandbox: SandboxState): KnownSandbox[] {
  const { containerId, detachedSince, phase, used } = sandbox;
  const { createdAt, id, kind } = sandbox.identity;
  // An ended one is being cleared: its container is nobody else's business.
  return [
    { id, containerId, phase: phase === "ended" ? "ending" : phase, kind, used, detachedSince, createdAt },
  ];
}

function missingImage(image: string): LauncherFailure {
  return new LauncherFailure(
    "sandbox_failed",
    `the engine has no image ${image}; build it (npm start does), or set KERNELYARD_IMAGE`,
  );
}

function startFailure(error: unknown): LauncherFailure {
  if (error instanceof LauncherFailure) return error;
  if (error instanceof EngineAwayError) return new LauncherFailure("engine_unavailable", error.message);
  if (error instanceof IsolationError) return new LauncherFailure("isolation_refused", error.message);
  if (error instanceof EngineRefusedError || error instanceof VolumeError) {
    return new LauncherFailure("sandbox_failed", error.message);
  }
  return new LauncherFailure("sandbox_failed", messageOf(error));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
