/** How sandboxes end: brings together what stream, engine and callers say, removes what is left, and tells why. */
import { setTimeout as delay } from "node:timers/promises";
import type { SandboxEnd } from "../../common/protocol/launcher-api.ts";
import type { Ledger } from "../checkpoints/ledger.ts";
import type { LauncherContext } from "../context.ts";
import type { EngineEvent } from "../engine/engine.ts";
import { volumeName } from "../engine/labels.ts";
import { failureOf, messageOf } from "../errors.ts";
import { killContainerProcesses } from "./hard-kill.ts";
import type { SandboxRegister } from "./register.ts";
import type { EndCause, SandboxState } from "./state.ts";

/** Between the end of the stream and the engine's word about the container, either way round. */
const SETTLE_MS = 1_000;
/** The engine needs 0.1 s; after this it is stuck. */
const ENGINE_KILLS_WITHIN_MS = 5_000;
/** An older word of the kernel does not explain this death. */
const OOM_EXPLAINS_MS = 10_000;
const KILLED_EXIT_CODE = 137;
/** Between two attempts to remove what the engine did not. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** Why a session's variables are lost with its sandbox, as the end of a sentence; null where they are not. */
const LOST: Record<SandboxEnd["reason"], string | null> = {
  out_of_memory: "it ran out of memory",
  exited: "its sandbox ended by itself",
  killed: "the service was stopped",
  protocol_error: "its sandbox broke the protocol",
  engine_lost: "its sandbox was lost with the Docker engine",
  disk_failed: "the host's disk failed under its files, of which those written last may be missing",
  expired: "it was not used for too long",
  asleep: null,
};

export class SandboxEnds {
  readonly #context: LauncherContext;
  readonly #register: SandboxRegister;
  readonly #ledger: Ledger;
  readonly #lost: () => void;

  /** `lost`: a sandbox's stream broke without a word of the engine's why. */
  constructor(context: LauncherContext, register: SandboxRegister, ledger: Ledger, lost: () => void) {
    this.#context = context;
    this.#register = register;
    this.#ledger = ledger;
    this.#lost = lost;
  }

  /** What the engine tells of a container. */
  heard(event: EngineEvent): void {
    const sandbox = this.#register.ofContainer(event.containerId);
    if (sandbox === undefined) return;
    if (event.type === "oom") sandbox.noteOom(this.#context.now());
    else sandbox.noteDeath(event.type === "die" ? event.exitCode : null);
    this.settle(sandbox);
  }

  /** The engine was asked, and does not have its container any more. */
  vanished(sandbox: SandboxState): void {
    if (sandbox.phase !== "running" && sandbox.phase !== "lost") return;
    sandbox.blame({ reason: "engine_lost", detail: "its container was gone when the engine was asked" });
    this.#finish(sandbox);
  }

  /** Brings together what the stream and the engine say about an end; either may come first. */
  settle(sandbox: SandboxState): void {
    const { death } = sandbox;
    if (death === "certain") this.#finish(sandbox);
    if (death !== "likely") return;
    sandbox.settleAfter(SETTLE_MS, () => {
      if (sandbox.died !== null) this.#finish(sandbox);
      else this.#lose(sandbox);
    });
  }

  /** Resolves when container and mounts are gone. Throws `LauncherFailure` when the engine does not remove it. */
  async end(sandbox: SandboxState, reason: SandboxEnd["reason"], detail?: string): Promise<void> {
    if (sandbox.beginEnd(detail === undefined ? { reason } : { reason, detail })) {
      try {
        if (sandbox.containerId !== null) await this.removeContainer(sandbox.containerId);
      } catch (error) {
        sandbox.endFailed();
        throw failureOf(error);
      }
      this.#finish(sandbox);
    }
    await sandbox.gone;
  }

  /** It was saved: its container ends by itself. Resolves when container and mounts are gone. */
  async asleep(sandbox: SandboxState): Promise<void> {
    sandbox.blame({ reason: "asleep" });
    this.#finish(sandbox);
    await sandbox.gone;
  }

  endQuietly(sandbox: SandboxState, reason: SandboxEnd["reason"], detail: string): void {
    const { log } = this.#context;
    log.warn({ sandbox: sandbox.identity.id, reason, detail }, "sandbox is being ended");
    sandbox.blame({ reason, detail });
    sandbox.hangUp();
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
    const { reason } = sandbox.blame({ reason: "exited", detail: messageOf(error) });
    sandbox.finish({ reason, exit_code: sandbox.died?.exitCode ?? null });
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
    if (!sandbox.lose()) return;
    this.#context.log.warn({ sandbox: sandbox.identity.id }, "stream to sandbox lost");
    this.#lost();
  }

  /** The end is certain: tells it, and clears what is left. */
  #finish(sandbox: SandboxState): void {
    const exitCode = sandbox.died?.exitCode ?? null;
    const cause = sandbox.cause ?? this.#causeOfDeath(sandbox, exitCode);
    const end: SandboxEnd = {
      reason: cause.reason,
      exit_code: exitCode,
      ...(cause.detail === undefined ? {} : { detail: cause.detail }),
    };
    if (!sandbox.finish(end)) return;
    this.#context.counts.end(sandbox.identity.kind, end.reason);
    this.#context.log.info({ sandbox: sandbox.identity.id, ...end }, "sandbox ended");
    const { id, session } = sandbox.identity;
    const why = LOST[end.reason];
    if (session !== null && why !== null) this.#ledger.lost(volumeName(session), why, id);
    void this.#clear(sandbox);
  }

  #causeOfDeath(sandbox: SandboxState, exitCode: number | null): EndCause {
    const oom = sandbox.oomAt !== null && this.#context.now() - sandbox.oomAt < OOM_EXPLAINS_MS;
    if (oom && exitCode === KILLED_EXIT_CODE) {
      return { reason: "out_of_memory", detail: "killed by the host's kernel at its memory limit" };
    }
    return { reason: "exited", detail: "process 1 of the sandbox ended by itself" };
  }

  /**
   * After the end: gives up session and memory when container and mounts are gone, and not before. Resolves after the
   * first attempt; what is still there then is tried again until it goes.
   */
  async #clear(sandbox: SandboxState): Promise<void> {
    if (!(await this.#cleared(sandbox))) void this.#clearLater(sandbox);
  }

  async #clearLater(sandbox: SandboxState): Promise<void> {
    const { stopping } = this.#context;
    for (let ms = FIRST_RETRY_MS; !stopping.aborted; ms = Math.min(2 * ms, LONGEST_RETRY_MS)) {
      await delay(ms, undefined, { signal: stopping, ref: false }).catch(() => {});
      if (!stopping.aborted && (await this.#cleared(sandbox))) return;
    }
  }

  async #cleared(sandbox: SandboxState): Promise<boolean> {
    const { log, volumes } = this.#context;
    const { id, session } = sandbox.identity;
    try {
      if (sandbox.containerId !== null) await this.removeContainer(sandbox.containerId);
      if (session !== null) {
        await volumes.touch(session);
        if (!(await volumes.freed(session))) log.warn({ sandbox: id }, "session volume is still mounted");
      }
    } catch (error) {
      log.warn(
        { sandbox: id, reason: messageOf(error) },
        "its container is still there, and its memory taken",
      );
      return false;
    }
    this.#register.remove(sandbox);
    sandbox.markGone();
    return true;
  }
}
