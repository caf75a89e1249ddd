/** How sandboxes end: brings together what stream, engine and callers say, removes what is left, and tells why. */
import type { SandboxEnd } from "../../common/protocol/launcher-api.ts";
import type { LauncherContext } from "../context.ts";
import { failureOf, messageOf } from "../errors.ts";
import { killContainerProcesses } from "./hard-kill.ts";
import type { SandboxRegister } from "./register.ts";
import type { SandboxState } from "./state.ts";

/** Between the end of the stream and the engine's word about the container, either way round. */
const SETTLE_MS = 1_000;
/** The engine needs 0.1 s; after this it is stuck. */
const ENGINE_KILLS_WITHIN_MS = 5_000;
/** An older word of the kernel does not explain this death. */
const OOM_EXPLAINS_MS = 10_000;
const KILLED_EXIT_CODE = 137;

export class SandboxEnds {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #lost: () => void;

  /** `lost`: a sandbox's stream broke without a word of the engine's why. */
  constructor(context: LauncherContext, register: SandboxRegister, lost: () => void) {
    this.#context = context;
    this.#register = register;
    this.#lost = lost;
  }

  /** Brings together what the stream and the engine say about an end; either may come first. */
  settle(sandbox: SandboxState): void {
    if (sandbox.phase === "starting" || sandbox.phase === "ended") return;
    if (sandbox.died === null && !sandbox.streamEnded) return;
    if (sandbox.died !== null && sandbox.streamEnded) {
      this.finish(sandbox);
      return;
    }
    if (sandbox.settleTimer !== null) return;
    sandbox.settleTimer = setTimeout(() => {
      sandbox.settleTimer = null;
      if (sandbox.died !== null) this.finish(sandbox);
      else if (sandbox.phase === "running" && sandbox.streamEnded) this.#lose(sandbox);
    }, SETTLE_MS);
  }

  /** The end is certain: tells it, and clears what is left. */
  finish(sandbox: SandboxState): void {
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
    this.#context.log.info({ sandbox: sandbox.identity.id, ...end }, "sandbox ended");
    void this.#clear(sandbox);
  }

  /** Resolves when container and mounts are gone. Throws `LauncherFailure` when the engine does not remove it. */
  async end(sandbox: SandboxState, reason: SandboxEnd["reason"], detail?: string): Promise<void> {
    if (sandbox.phase === "ended") {
      await sandbox.gone;
      return;
    }
    sandbox.cause ??= detail === undefined ? { reason } : { reason, detail };
    const before = sandbox.phase;
    sandbox.phase = "ending";
    try {
      if (sandbox.containerId !== null) await this.removeContainer(sandbox.containerId);
    } catch (error) {
      if (sandbox.ended === null) sandbox.phase = before === "starting" ? "lost" : before;
      throw failureOf(error);
    }
    this.finish(sandbox);
    await sandbox.gone;
  }

  endQuietly(sandbox: SandboxState, reason: SandboxEnd["reason"], detail: string): void {
    const { log } = this.#context;
    log.warn({ sandbox: sandbox.identity.id, reason, detail }, "sandbox is being ended");
    sandbox.cause ??= { reason, detail };
    sandbox.relay?.close();
    // While it starts, the start itself sees the cause.
    if (sandbox.phase === "starting") return;
    this.end(sandbox, reason, detail).catch((error: unknown) => {
      log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "left for the next sweep");
    });
  }

  /** A sandbox that did not come up: nothing of it stays. */
  async abandon(sandbox: SandboxState, error: unknown): Promise<void> {
    const { log } = this.#context;
    log.warn({ sandbox: sandbox.identity.id, reason: messageOf(error) }, "sandbox did not start");
    sandbox.clearTimers();
    sandbox.phase = "ended";
    sandbox.cause ??= { reason: "exited", detail: messageOf(error) };
    sandbox.ended = { reason: sandbox.cause.reason, exit_code: sandbox.died?.exitCode ?? null };
    sandbox.relay?.close();
    await this.#clear(sandbox);
  }

  /** Resolves when the container is gone; one that the engine cannot end is killed from the host. */
  async removeContainer(containerId: string): Promise<void> {
    const { engine, log } = this.#context;
    const harder = setTimeout(() => {
      const processes = killContainerProcesses(containerId);
      log.warn({ container: containerId, processes }, "the engine does not end it: killed from the host");
    }, ENGINE_KILLS_WITHIN_MS);
    try {
      await engine.removeContainer(containerId);
    } finally {
      clearTimeout(harder);
    }
  }

  /** The stream broke and the engine does not say why: it is away, or came back without us hearing. */
  #lose(sandbox: SandboxState): void {
    sandbox.phase = "lost";
    sandbox.relay?.close();
    sandbox.relay = null;
    this.#context.log.warn({ sandbox: sandbox.identity.id }, "stream to sandbox lost");
    this.#lost();
  }

  #causeOfDeath(sandbox: SandboxState, exitCode: number | null): NonNullable<SandboxState["cause"]> {
    const oom = sandbox.oomAt !== null && this.#context.now() - sandbox.oomAt < OOM_EXPLAINS_MS;
    if (oom && exitCode === KILLED_EXIT_CODE) {
      return { reason: "out_of_memory", detail: "killed by the host's kernel at its memory limit" };
    }
    return { reason: "exited", detail: "process 1 of the sandbox ended by itself" };
  }

  /** After the end: waits until container and mounts are gone, then gives up session and memory. */
  async #clear(sandbox: SandboxState): Promise<void> {
    const { log, volumes } = this.#context;
    const { id, session } = sandbox.identity;
    try {
      if (sandbox.containerId !== null) await this.removeContainer(sandbox.containerId);
      if (session !== null) {
        await volumes.touch(session);
        if (!(await volumes.freed(session))) log.warn({ sandbox: id }, "session volume is still mounted");
      }
    } catch (error) {
      log.warn({ sandbox: id, reason: messageOf(error) }, "left for the next sweep");
    }
    this.#register.remove(sandbox);
    sandbox.markGone();
  }
}
