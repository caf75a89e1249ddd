/**
 * How sandboxes begin: made from a checkpoint (the session's own, or the template of their kind), started where that is
 * not to be had, or taken over from a launcher before us or after their stream broke.
 */
import type { Checkpoints } from "../checkpoints/checkpoints.ts";
import { keyOf, whyNotRestorable } from "../checkpoints/parts.ts";
import { BrokenCheckpoint } from "../checkpoints/seal.ts";
import type { TakenCheckpoint } from "../checkpoints/store.ts";
import { NotesUnseen } from "../checkpoints/template.ts";
import type { LauncherContext } from "../context.ts";
import { EngineAwayError } from "../engine/engine.ts";
import { type Adoptable, containerName, volumeName } from "../engine/labels.ts";
import { failureOf, LauncherFailure, messageOf } from "../errors.ts";
import { type SandboxData, sandboxSpec } from "../spec/create-body.ts";
import type { VolumeLease } from "../volumes/volumes.ts";
import { Attachment } from "./attachment.ts";
import type { SandboxEnds } from "./ends.ts";
import type { SandboxRegister } from "./register.ts";
import { type SandboxIdentity, SandboxState } from "./state.ts";

/** A healthy supervisor answers in milliseconds; on a loaded host it may have to wait for a CPU. */
const HELLO_WITHIN_MS = 5_000;
/** What was restored answers as soon as it has a CPU. */
const WOKEN_WITHIN_MS = 15_000;

/** What a sandbox is restored from, once. */
interface Source {
  readonly origin: "template" | "woken";
  readonly directory: string;
  /** Settles when every byte was read; rejects with `BrokenCheckpoint`. */
  readonly verified: Promise<void>;
  /** The engine was asked to start it: whether it came to life nobody knows for certain. */
  tried: boolean;
}

export class SandboxArrivals {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #checkpoints: Checkpoints;
  readonly #attachment: Attachment;
  readonly #ends: SandboxEnds;

  constructor(
    context: LauncherContext,
    register: SandboxRegister,
    ends: SandboxEnds,
    checkpoints: Checkpoints,
  ) {
    this.#context = context;
    this.#register = register;
    this.#checkpoints = checkpoints;
    this.#attachment = new Attachment(context, ends, checkpoints.store.ledger);
    this.#ends = ends;
  }

  /**
   * Volume, container, stream, in this order; whatever fails, nothing of it stays. Registers before anything is
   * awaited: its place is taken. Throws `LauncherFailure`.
   */
  async create(wanted: Omit<SandboxIdentity, "checkpointKey">): Promise<SandboxState> {
    const { ageClock, counts, log, settings } = this.#context;
    const parts = this.#checkpoints.parts(wanted.session, wanted.image);
    const identity = { ...wanted, checkpointKey: parts === null ? null : keyOf(parts) };
    const sandbox = new SandboxState(identity, false, ageClock());
    this.#register.add(sandbox);
    const beganAt = performance.now();
    try {
      await this.#start(sandbox);
    } catch (error) {
      counts.start(identity.kind, "failed", performance.now() - beganAt);
      await this.#ends.abandon(sandbox, error);
      throw failureOf(error);
    }
    const { id, kind, profile, image } = identity;
    const { containerId: container, origin } = sandbox;
    const ms = Math.round(performance.now() - beganAt);
    counts.start(kind, "started", ms);
    log.info(
      { sandbox: id, container, kind, profile, image, origin, ms, cpu: settings.cpus },
      "sandbox started",
    );
    return sandbox;
  }

  /** Takes over a container of a launcher before us. What it was used for is unknown: it counts as used. */
  async adopt(found: Adoptable): Promise<void> {
    const { ageClock, stopping } = this.#context;
    if (stopping.aborted || this.#register.get(found.sandboxId) !== undefined) return;
    const { kind, profile, session, owner, createdAt, checkpointKey } = found;
    if (session !== null && this.#register.ofSession(session) !== undefined) {
      return this.#ends.removeContainer(found.containerId);
    }
    const { sandboxId: id, imageId: image } = found;
    const identity = { id, kind, profile, session, owner, image, createdAt, checkpointKey };
    const sandbox = new SandboxState(identity, true, ageClock());
    this.#register.add(sandbox);
    this.#register.bind(sandbox, found.containerId);
    if (session !== null) sandbox.began("cold", this.#checkpoints.store.ledger.untold(volumeName(session)));
    await this.#takeOver(sandbox, found.containerId);
  }

  /** Takes back a sandbox whose stream broke. */
  async readopt(id: string): Promise<void> {
    const sandbox = this.#register.get(id);
    if (sandbox?.phase !== "lost" || sandbox.containerId === null) return;
    await this.#takeOver(sandbox, sandbox.containerId);
  }

  async #start(sandbox: SandboxState): Promise<void> {
    const { volumes } = this.#context;
    const { owner, session, tenant = null } = sandbox.identity;
    const lease = session === null ? null : await volumes.acquire(session, { owner, tenant });
    try {
      if (!(await this.#wake(sandbox, lease)) && !(await this.#clone(sandbox, lease))) {
        await this.#begin(sandbox, lease, null);
        sandbox.began("cold", this.#whyLost(sandbox));
      }
    } finally {
      await lease?.release();
    }
    if (sandbox.died !== null || !sandbox.run(this.#context.ageClock())) {
      throw new LauncherFailure("sandbox_failed", whyNotStarted(sandbox));
    }
    this.#ends.settle(sandbox);
  }

  /** False when the session is not asleep, or does not come back: its variables are lost then, and that is noted. */
  async #wake(sandbox: SandboxState, lease: VolumeLease | null): Promise<boolean> {
    const { id, session } = sandbox.identity;
    if (session === null) return false;
    const { log } = this.#context;
    const { store } = this.#checkpoints;
    const volume = volumeName(session);
    let taken: TakenCheckpoint | null = null;
    let source: Source | null = null;
    let outdated = false;
    try {
      taken = await store.takeSession(volume, id);
      if (taken === null) return false;
      const { directory, manifest } = taken;
      const present = this.#checkpoints.parts(session, sandbox.identity.image);
      const why = present === null ? this.#checkpoints.whyOff : whyNotRestorable(manifest.parts, present);
      outdated = why !== null;
      if (why !== null) throw new BrokenCheckpoint(why);
      // Before gVisor decodes them; the memory is read while it starts, and nobody is served before that is done.
      await store.seal.verifyObjects(directory, manifest);
      const verified = store.seal.verifyMemory(directory, manifest);
      // It may fail before anybody waits for it.
      verified.catch(() => {});
      source = { origin: "woken", directory, verified, tried: false };
      // Code of the session's may run from the first moment on.
      sandbox.noteUse();
      await this.#begin(sandbox, lease, source);
      this.#attachment.restoreCpu(sandbox);
      sandbox.began("woken", null);
      this.#checkpoints.succeeded();
      return true;
    } catch (error) {
      if (error instanceof EngineAwayError && taken !== null && source?.tried === false) {
        await store.putBack(taken, volume);
        throw error;
      }
      // What is damaged on the disk may have failed in any way before that was seen.
      const damage = await source?.verified.then(
        () => null,
        (reason: unknown) => reason,
      );
      const cause = damage ?? error;
      const why = cause instanceof BrokenCheckpoint ? cause.message : "its saved state could not be restored";
      log.error({ sandbox: id, reason: messageOf(cause) }, "a session did not wake: its variables are lost");
      // Nothing has failed where the host has another image or runtime now.
      if (!outdated) this.#checkpoints.sessionFailed();
      store.ledger.lost(volume, why);
      await this.#giveUpAttempt(sandbox);
      if (error instanceof EngineAwayError) throw error;
      return false;
    } finally {
      if (taken !== null) await store.remove(taken.directory);
    }
  }

  /** False when there is no template, or it does not come to life. */
  async #clone(sandbox: SandboxState, lease: VolumeLease | null): Promise<boolean> {
    const template = this.#checkpoints.template(sandbox.identity.session, sandbox.identity.image);
    if (template === null || keyOf(template.parts) !== sandbox.checkpointKey) return false;
    try {
      const { directory } = template;
      const verified = Promise.resolve();
      await this.#begin(sandbox, lease, { origin: "template", directory, verified, tried: false });
      sandbox.began("template", this.#whyLost(sandbox));
      this.#checkpoints.succeeded();
      return true;
    } catch (error) {
      if (error instanceof EngineAwayError) throw error;
      this.#checkpoints.failure(error);
      await this.#giveUpAttempt(sandbox);
      // Not even the runtime is to be the same: whatever failed there must not fail again.
      sandbox.startPlainly();
      return false;
    }
  }

  /** From the create body to a supervisor that answers (restored) or soon will (started). */
  async #begin(sandbox: SandboxState, lease: VolumeLease | null, source: Source | null): Promise<void> {
    const { engine, instance, seccomp, settings } = this.#context;
    const { notes, support } = this.#checkpoints;
    const { id, createdAt, profile, image } = sandbox.identity;
    const key = sandbox.checkpointKey;
    const body = sandboxSpec({
      id,
      instance,
      createdAt,
      profile,
      imageId: image,
      seccomp: seccomp.json,
      ceilings: settings,
      data: dataOf(sandbox.identity, lease),
      checkpoints: support === null || key === null ? null : { ...support, key },
    });
    const containerId = await engine.createContainer(containerName(id), body);
    this.#register.bind(sandbox, containerId);
    // Attached before it starts: not a byte of the supervisor's is lost.
    const relay = await this.#attachment.attach(sandbox, containerId);
    if (source === null) {
      await engine.startContainer(containerId);
      await this.#attachment.liftCpu(sandbox, containerId);
      return;
    }
    try {
      notes.restore(containerId, source.directory);
      source.tried = true;
      await engine.startContainer(containerId);
      if (!notes.taken(containerId)) throw new NotesUnseen();
    } finally {
      notes.remove(containerId);
    }
    await this.#attachment.liftCpu(sandbox, containerId);
    const fresh = source.origin === "template";
    const content = { fresh, memory_bytes: settings.memoryBytes };
    const asked = relay.ask(
      { msg_type: "woken_request", msg_id: `launcher-${id}`, content },
      "woken_reply",
      WOKEN_WITHIN_MS,
    );
    // Damaged memory may leave nobody to answer: that it is damaged is known before.
    const [woken] = await Promise.all([asked, source.verified]);
    if (woken === null)
      throw new LauncherFailure("sandbox_failed", "the restored supervisor does not answer");
  }

  /** Nothing of the container that did not come to life stays. */
  async #giveUpAttempt(sandbox: SandboxState): Promise<void> {
    const { containerId } = sandbox;
    sandbox.takeLifted();
    this.#register.forgetAttempt(sandbox);
    if (containerId !== null) await this.#ends.removeContainer(containerId);
  }

  #whyLost({ identity: { session } }: SandboxState): string | null {
    return session === null ? null : this.#checkpoints.store.ledger.whyLost(volumeName(session));
  }

  async #takeOver(sandbox: SandboxState, containerId: string): Promise<void> {
    const { ageClock, log } = this.#context;
    try {
      await this.#attachment.resetCpu(containerId);
      const relay = await this.#attachment.attach(sandbox, containerId);
      if ((await relay.probe(HELLO_WITHIN_MS)) && sandbox.run(ageClock())) {
        log.info({ sandbox: sandbox.identity.id, container: containerId }, "sandbox adopted");
        this.#ends.settle(sandbox);
        return;
      }
    } catch (error) {
      log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "sandbox not adopted");
    }
    sandbox.refuseTakeOver();
    await this.#ends.end(
      sandbox,
      "engine_lost",
      "its supervisor gave no answer when its stream was taken over",
    );
  }
}

function whyNotStarted({ cause, died }: SandboxState): string {
  if (cause?.detail !== undefined) return cause.detail;
  if (died === null) return "it was ended while it started";
  return `the supervisor ended with exit code ${died.exitCode} while it started`;
}

function dataOf({ owner, session }: SandboxIdentity, lease: VolumeLease | null): SandboxData {
  if (session === null || lease === null) return { kind: "fresh" };
  return { kind: "session", session, owner, volume: lease.volume, copyOwner: lease.copyOwner };
}
