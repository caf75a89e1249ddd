/** One call from request to outcome: borrow its kernel, run, give it back. */
import { LauncherRefusal, LauncherUnavailable } from "../../common/protocol/launcher-client.ts";
import type { Settings } from "../../common/settings/read.ts";
import { MAX_NAME_BYTES, MAX_SEGMENTS } from "../files/names.ts";
import type { KernelConnection } from "../kernel/connection.ts";
import type { RunLimits } from "../kernel/run.ts";
import { CallerFull, HostFull } from "../sessions/admission.ts";
import type { Kernels } from "../sessions/kernels.ts";
import { type KernelLeft, SessionBusy, SessionClosed } from "../sessions/lease.ts";
import { SandboxBroken } from "../sessions/sandboxes.ts";
import type { CallOutcome, CallRequest, Executor, NotRun, Unavailable } from "./call.ts";
import { outcomeOf } from "./outcome.ts";

export interface ExecutionOptions {
  readonly settings: Pick<
    Settings,
    "stdoutLimit" | "stderrLimit" | "outputFilesMax" | "fileMaxBytes" | "outputTotalBytes"
  >;
  readonly kernels: Pick<Kernels, "lease" | "profileOf">;
}

const SHUTTING_DOWN: NotRun = {
  kind: "unavailable",
  error: "shutting_down",
  message: "The service is shutting down",
};

export class Execution implements Executor {
  readonly #kernels: ExecutionOptions["kernels"];
  readonly #limits: RunLimits;
  /** What the images of the profiles have, since one of their kernels said so. */
  readonly #languages = new Map<string, KernelConnection["languages"]>();
  #stopping = false;
  #running = 0;

  constructor({ settings, kernels }: ExecutionOptions) {
    this.#kernels = kernels;
    this.#limits = {
      stdout: settings.stdoutLimit,
      stderr: settings.stderrLimit,
      collect: {
        max_files: settings.outputFilesMax,
        max_file_bytes: settings.fileMaxBytes,
        max_total_bytes: settings.outputTotalBytes,
        max_depth: MAX_SEGMENTS,
        max_path_bytes: MAX_NAME_BYTES,
      },
    };
  }

  languages(): KernelConnection["languages"] {
    return this.#languages.get(this.#kernels.profileOf(null)) ?? [];
  }

  /** Calls that run or wait now. */
  get running(): number {
    return this.#running;
  }

  async execute(call: CallRequest): Promise<CallOutcome> {
    if (this.#stopping) return SHUTTING_DOWN;
    const unknown = this.#unsupported(call);
    if (unknown !== null) return unknown;
    this.#running += 1;
    try {
      return await this.#run(call);
    } catch (error) {
      return this.#notRun(error, call.signal);
    } finally {
      this.#running -= 1;
    }
  }

  /** Takes no more calls. */
  stop(): void {
    this.#stopping = true;
  }

  async #run(call: CallRequest): Promise<CallOutcome> {
    const lease = await this.#kernels.lease(call.binding, call.signal);
    let left: KernelLeft | null = null;
    try {
      const { kernel } = lease;
      this.#languages.set(this.#kernels.profileOf(call.binding.caller), kernel.languages);
      if (call.signal.aborted) return { kind: "cancelled" };
      const unknown = this.#unsupported(call);
      if (unknown !== null) return unknown;
      const outcome = await outcomeOf(
        call,
        lease,
        await kernel.run({ ...call, script: call.binding.kind === "fresh" }, this.#limits),
      );
      if (outcome.kind === "finished") left = outcome.kernel;
      return outcome;
    } finally {
      lease.done(left);
    }
  }

  #unsupported({ language, binding }: CallRequest): NotRun | null {
    const known = this.#languages.get(this.#kernels.profileOf(binding.caller)) ?? [];
    const supported = known.map(({ id }) => id);
    if (supported.length === 0 || supported.includes(language)) return null;
    return { kind: "unsupported_language", language, supported };
  }

  #notRun(error: unknown, signal: AbortSignal): NotRun {
    if (signal.aborted) return { kind: "cancelled" };
    if (error instanceof SessionBusy) return { kind: "busy", message: error.message };
    if (error instanceof SessionClosed) return SHUTTING_DOWN;
    if (error instanceof HostFull) return { kind: "host_full" };
    if (error instanceof CallerFull) return { kind: "caller_full", most: error.most };
    if (error instanceof LauncherUnavailable) {
      return { kind: "unavailable", error: "launcher_unavailable", message: error.message };
    }
    if (error instanceof LauncherRefusal) {
      return { kind: "unavailable", ...refused(error) };
    }
    if (error instanceof SandboxBroken) {
      return { kind: "unavailable", error: "sandbox_failed", message: error.message };
    }
    throw error;
  }
}

/** The launcher's own words name paths and containers of the host: they are in its log. */
function refused({ code, message }: LauncherRefusal): Pick<Unavailable, "error" | "message"> {
  switch (code) {
    case "engine_unavailable":
      return { error: code, message: "The container engine does not answer; the launcher's log says why" };
    case "storage_full":
      return { error: code, message };
    case "isolation_refused":
      return {
        error: "sandbox_failed",
        message: "Sandboxes are not isolated as promised, so none is made; the launcher's log says why",
      };
    default:
      return { error: "sandbox_failed", message: "A sandbox could not be made; the launcher's log says why" };
  }
}
