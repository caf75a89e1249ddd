/**
 * A sandbox's stream and its CPU share: the share is lifted while it starts, and back before the first user code; and once more while it is
 * saved, with which it ends.
 */
import type { Duplex } from "node:stream";
import type { Ledger } from "../checkpoints/ledger.ts";
import type { LauncherContext } from "../context.ts";
import { type CpuShare, cpuShareOf, cpuShareOfProcess } from "../engine/cpu-share.ts";
import { volumeName } from "../engine/labels.ts";
import { messageOf } from "../errors.ts";
import { Relay } from "../relay/relay.ts";
import type { SandboxEnds } from "./ends.ts";
import type { SandboxState } from "./state.ts";

/** The CPU share is back at the latest so long after it was lifted. */
const CPU_LIFTED_MAX_MS = 30_000;
const MAX_DIAGNOSTICS_BYTES = 8 * 1024;

export class Attachment {
  readonly #context: LauncherContext;
  readonly #ends: SandboxEnds;
  readonly #ledger: Ledger;

  constructor(context: LauncherContext, ends: SandboxEnds, ledger: Ledger) {
    this.#context = context;
    this.#ends = ends;
    this.#ledger = ledger;
  }

  /** Gives the sandbox a relay over a new stream of its container's. */
  async attach(sandbox: SandboxState, containerId: string): Promise<Relay> {
    const relay = this.#relay(sandbox, await this.#context.engine.attach(containerId));
    sandbox.attach(relay);
    return relay;
  }

  async liftCpu(sandbox: SandboxState, containerId: string): Promise<void> {
    const cpu = await this.#cpuOf(containerId);
    if (cpu === null) return;
    try {
      cpu.lift();
    } catch (error) {
      // It starts slower, that is all.
      this.#context.log.debug(
        { sandbox: sandbox.identity.id, reason: messageOf(error) },
        "CPU share not lifted",
      );
      return;
    }
    sandbox.lifted(cpu, CPU_LIFTED_MAX_MS, () => this.restoreCpu(sandbox));
  }

  /** Also when another launcher lifted it and died. Throws when it cannot be put back. */
  async resetCpu(containerId: string): Promise<void> {
    (await this.#cpuOf(containerId))?.restore();
  }

  async #cpuOf(containerId: string): Promise<CpuShare | null> {
    const { engine, settings } = this.#context;
    const share = cpuShareOf(containerId, settings.cpus);
    if (share !== null) return share;
    const pid = await engine.pid(containerId);
    return pid === null ? null : cpuShareOfProcess(pid, settings.cpus);
  }

  /** A sandbox whose share cannot be put back must not run user code. */
  restoreCpu(sandbox: SandboxState): void {
    try {
      sandbox.takeLifted()?.restore();
    } catch (error) {
      this.#ends.endQuietly(sandbox, "killed", `its CPU share could not be put back: ${messageOf(error)}`);
    }
  }

  /** From now on its session has variables to lose, and knows of those that it lost before. */
  noteExecute(sandbox: SandboxState): void {
    sandbox.noteExecute();
    const { id, session } = sandbox.identity;
    if (session === null) return;
    if (this.#context.settings.checkpoints === "off") this.#ledger.forget(volumeName(session));
    else this.#ledger.awake(volumeName(session), id);
  }

  #relay(sandbox: SandboxState, stream: Duplex): Relay {
    let diagnostics = 0;
    const relay = new Relay(
      stream,
      {
        firstUse: () => sandbox.noteUse(),
        firstExecute: () => {
          this.noteExecute(sandbox);
          this.restoreCpu(sandbox);
        },
        attachedChanged: (attached) => sandbox.noteGateway(attached, this.#context.ageClock()),
        broken: (message) => this.#ends.endQuietly(sandbox, "protocol_error", message),
        ended: () => {
          if (sandbox.noteStreamEnd(relay)) this.#ends.settle(sandbox);
        },
        diagnostics: (slice) => {
          if (diagnostics >= MAX_DIAGNOSTICS_BYTES) return;
          diagnostics += slice.length;
          const text = slice.toString("utf8", 0, Math.min(slice.length, MAX_DIAGNOSTICS_BYTES));
          this.#context.log.debug({ sandbox: sandbox.identity.id, text }, "supervisor diagnostics");
        },
      },
      sandbox.used,
    );
    return relay;
  }
}
