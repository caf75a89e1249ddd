/** Takes over containers that run already: of a launcher before us, or of our own after their stream broke. */

import type { LauncherContext } from "./context.ts";
import type { Adoptable } from "./engine/labels.ts";
import { messageOf } from "./errors.ts";
import type { Attachment } from "./sandbox/attachment.ts";
import type { SandboxEnds } from "./sandbox/ends.ts";
import type { SandboxRegister } from "./sandbox/register.ts";
import { SandboxState } from "./sandbox/state.ts";

/** A healthy supervisor answers in milliseconds; on a loaded host it may have to wait for a CPU. */
const HELLO_WITHIN_MS = 5_000;

export class Adoption {
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

  /** Takes over a container of a launcher before us. What it was used for is unknown: it counts as used. */
  async adopt(found: Adoptable): Promise<void> {
    const { now, stopping } = this.#context;
    if (stopping.aborted || this.#register.get(found.sandboxId) !== undefined) return;
    const { kind, profile, session, createdAt } = found;
    if (session !== null && this.#register.ofSession(session) !== undefined) {
      return this.#ends.removeContainer(found.containerId);
    }
    const identity = { id: found.sandboxId, kind, profile, session, image: found.imageId, createdAt };
    const sandbox = new SandboxState(identity, true, now());
    this.#register.add(sandbox);
    this.#register.bind(sandbox, found.containerId);
    await this.#takeOver(sandbox);
  }

  async readopt(id: string): Promise<void> {
    const sandbox = this.#register.get(id);
    if (sandbox?.phase !== "lost") return;
    await this.#takeOver(sandbox);
  }

  async #takeOver(sandbox: SandboxState): Promise<void> {
    const { log } = this.#context;
    const { containerId } = sandbox;
    if (containerId === null) return;
    try {
      await this.#attachment.resetCpu(containerId);
      const relay = await this.#attachment.attach(sandbox, containerId);
      if (await relay.probe(HELLO_WITHIN_MS)) {
        log.info({ sandbox: sandbox.identity.id, container: containerId }, "sandbox adopted");
        this.#attachment.running(sandbox);
        return;
      }
    } catch (error) {
      log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "sandbox not adopted");
    }
    sandbox.relay?.close();
    sandbox.relay = null;
    sandbox.markStarted();
    await this.#ends.end(
      sandbox,
      "engine_lost",
      "its supervisor gave no answer when its stream was taken over",
    );
  }
}
