/** How sandboxes begin: made anew, or taken over from a launcher before us or after their stream broke. */
import type { LauncherContext } from "../context.ts";
import { type Adoptable, containerName } from "../engine/labels.ts";
import { failureOf, LauncherFailure, messageOf } from "../errors.ts";
import { type SandboxData, sandboxSpec } from "../spec/create-body.ts";
import type { VolumeLease } from "../volumes/volumes.ts";
import { Attachment } from "./attachment.ts";
import type { SandboxEnds } from "./ends.ts";
import type { SandboxRegister } from "./register.ts";
import { type SandboxIdentity, SandboxState } from "./state.ts";

/** A healthy supervisor answers in milliseconds; on a loaded host it may have to wait for a CPU. */
const HELLO_WITHIN_MS = 5_000;

export class SandboxArrivals {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #attachment: Attachment;
  readonly #ends: SandboxEnds;

  constructor(context: LauncherContext, register: SandboxRegister, ends: SandboxEnds) {
    this.#context = context;
    this.#register = register;
    this.#attachment = new Attachment(context, ends);
    this.#ends = ends;
  }

  /**
   * Volume, container, stream, in this order; whatever fails, nothing of it stays. Registers before anything is
   * awaited: its place is taken. Throws `LauncherFailure`.
   */
  async create(identity: SandboxIdentity): Promise<SandboxState> {
    const { ageClock, counts, log, settings } = this.#context;
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
    const ms = Math.round(performance.now() - beganAt);
    counts.start(kind, "started", ms);
    log.info(
      { sandbox: id, container: sandbox.containerId, kind, profile, image, ms, cpu: settings.cpus },
      "sandbox started",
    );
    return sandbox;
  }

  /** Takes over a container of a launcher before us. What it was used for is unknown: it counts as used. */
  async adopt(found: Adoptable): Promise<void> {
    const { ageClock, stopping } = this.#context;
    if (stopping.aborted || this.#register.get(found.sandboxId) !== undefined) return;
    const { kind, profile, session, owner, createdAt } = found;
    if (session !== null && this.#register.ofSession(session) !== undefined) {
      return this.#ends.removeContainer(found.containerId);
    }
    const identity = { id: found.sandboxId, kind, profile, session, owner, image: found.imageId, createdAt };
    const sandbox = new SandboxState(identity, true, ageClock());
    this.#register.add(sandbox);
    this.#register.bind(sandbox, found.containerId);
    await this.#takeOver(sandbox, found.containerId);
  }

  /** Takes back a sandbox whose stream broke. */
  async readopt(id: string): Promise<void> {
    const sandbox = this.#register.get(id);
    if (sandbox?.phase !== "lost" || sandbox.containerId === null) return;
    await this.#takeOver(sandbox, sandbox.containerId);
  }

  async #start(sandbox: SandboxState): Promise<void> {
    const { engine, instance, seccomp, settings, volumes } = this.#context;
    const { id, session, createdAt, profile, image } = sandbox.identity;
    const lease = session === null ? null : await volumes.acquire(session);
    try {
      const body = sandboxSpec({
        id,
        instance,
        createdAt,
        profile,
        imageId: image,
        seccomp: seccomp.json,
        ceilings: settings,
        data: dataOf(sandbox.identity, lease),
      });
      const containerId = await engine.createContainer(containerName(id), body);
      this.#register.bind(sandbox, containerId);
      // Attached before it starts: not a byte of the supervisor's is lost.
      await this.#attachment.attach(sandbox, containerId);
      await engine.startContainer(containerId);
      await this.#attachment.liftCpu(sandbox, containerId);
    } finally {
      await lease?.release();
    }
    if (sandbox.died !== null || !sandbox.run(this.#context.ageClock())) {
      throw new LauncherFailure("sandbox_failed", whyNotStarted(sandbox));
    }
    this.#ends.settle(sandbox);
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
