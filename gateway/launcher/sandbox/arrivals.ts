/** Makes a sandbox: volume, container, stream, in this order; whatever fails, nothing of it stays. */

import type { LauncherContext } from "../context.ts";
import { containerName } from "../engine/labels.ts";
import { failureOf, LauncherFailure } from "../errors.ts";
import { type SandboxData, sandboxSpec } from "../spec/create-body.ts";
import type { VolumeLease } from "../volumes/volumes.ts";
import type { Attachment } from "./attachment.ts";
import type { SandboxEnds } from "./ends.ts";
import type { SandboxRegister } from "./register.ts";
import { type SandboxIdentity, SandboxState } from "./state.ts";

export class Creation {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #attachment: Attachment;
  readonly #ends: SandboxEnds;

  constructor(
    context: LauncherContext,
    register: SandboxRegister,
    attachment: Attachment,
    ends: SandboxEnds,
  ) {
    this.#context = context;
    this.#register = register;
    this.#attachment = attachment;
    this.#ends = ends;
  }

  /** Registers before anything is awaited: its place is taken. Throws `LauncherFailure`. */
  async create(identity: SandboxIdentity): Promise<SandboxState> {
    const { log, now, settings } = this.#context;
    const sandbox = new SandboxState(identity, false, now());
    this.#register.add(sandbox);
    const beganAt = performance.now();
    try {
      await this.#start(sandbox);
    } catch (error) {
      await this.#ends.abandon(sandbox, error);
      throw failureOf(error);
    }
    const { id, kind, profile, image } = identity;
    const ms = Math.round(performance.now() - beganAt);
    log.info(
      { sandbox: id, container: sandbox.containerId, kind, profile, image, ms, cpu: settings.cpus },
      "sandbox started",
    );
    return sandbox;
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
    if (sandbox.died !== null || sandbox.cause !== null) {
      throw new LauncherFailure(
        "sandbox_failed",
        sandbox.cause?.detail ??
          `the supervisor ended with exit code ${sandbox.died?.exitCode} while it started`,
      );
    }
    this.#attachment.running(sandbox);
  }
}

function dataOf({ session }: SandboxIdentity, lease: VolumeLease | null): SandboxData {
  if (session === null || lease === null) return { kind: "fresh" };
  return { kind: "session", session, volume: lease.volume, copyOwner: lease.copyOwner };
}
