/** One call from request to outcome: find its kernel, run, and say truthfully what came of it. */

import { LauncherRefusal, LauncherUnavailable } from "../../common/protocol/launcher-client.ts";
import type { Settings } from "../../common/settings/read.ts";
import { MAX_NAME_BYTES, MAX_SEGMENTS } from "../files/names.ts";
import type { KernelConnection } from "../kernel/connection.ts";
import type { RunLimits, RunResult } from "../kernel/run.ts";
import { HostFull } from "../sessions/admission.ts";
import type { Pool } from "../sessions/pool.ts";
import type { Registry, Session } from "../sessions/registry.ts";
import { type Fate, SandboxBroken, type Sandboxes } from "../sessions/sandboxes.ts";
import type { CallOutcome, CallRequest, Executor, Finished, KernelReport, NotRun } from "./call.ts";

/** What a caller is told to wait when the host is full of sessions, in seconds. */
const LONGEST_RETRY_AFTER_S = 60;
const RETRY_AFTER_A_CALL_S = 2;

export interface ExecutionOptions {
  readonly settings: Pick<
    Settings,
    "stdoutLimit" | "stderrLimit" | "busyWaitMs" | "outputFilesMax" | "fileMaxBytes" | "outputTotalBytes"
  >;
  readonly sandboxes: Sandboxes;
  readonly pool: Pool;
  readonly registry: Registry;
}

type Lost = Extract<RunResult, { kind: "lost" }>;
type Replied = Extract<RunResult, { kind: "replied" }>;
type NewOrReused = KernelReport["status"];

const clamp = (value: number, min: number, max: number) => Math.min(max, Math.max(min, value));

export class Execution implements Executor {
  readonly #options: ExecutionOptions;
  readonly #limits: RunLimits;
  #languages: KernelConnection["languages"] = [];
  #stopping = false;
  #running = 0;
  #idle: PromiseWithResolvers<void> | null = null;

  constructor(options: ExecutionOptions) {
    this.#options = options;
    const { settings } = options;
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
    return this.#languages;
  }

  /** Calls that run or wait now. */
  get running(): number {
    return this.#running;
  }

  async execute(call: CallRequest): Promise<CallOutcome> {
    if (this.#stopping) {
      return { kind: "unavailable", error: "shutting_down", message: "The service is shutting down" };
    }
    const unknown = this.#unsupported(call.language);
    if (unknown !== null) return unknown;
    this.#running += 1;
    try {
      return call.binding.kind === "fresh"
        ? await this.#runFresh(call)
        : await this.#runInSession(call, this.#options.registry.session(call.binding.key));
    } catch (error) {
      return this.#notRun(error, call.signal);
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#idle?.resolve();
    }
  }

  /** Takes no more calls; resolves when the last one is done. */
  async drain(): Promise<void> {
    this.#stopping = true;
    if (this.#running === 0) return;
    this.#idle = Promise.withResolvers<void>();
    await this.#idle.promise;
  }

  async #runFresh(call: CallRequest): Promise<CallOutcome> {
    const { pool } = this.#options;
    const connection = await pool.take(call.signal);
    try {
      this.#languages = connection.languages;
      if (call.signal.aborted) return { kind: "cancelled" };
      const unknown = this.#unsupported(call.language);
      if (unknown !== null) return unknown;
      // Nobody else gets this sandbox: a caller who hangs up needs no ladder.
      const hangUp = () => connection.release();
      call.signal.addEventListener("abort", hangUp, { once: true });
      const result = await connection.run(call, this.#limits);
      call.signal.removeEventListener("abort", hangUp);
      return await this.#outcome(call, result, connection.sandboxId, "new", null);
    } finally {
      void pool.finish(connection);
    }
  }

  async #runInSession(call: CallRequest, session: Session): Promise<CallOutcome> {
    const turn = await session.queue.acquire(this.#options.settings.busyWaitMs, call.signal);
    if (turn === "busy") return { kind: "busy" };
    if (turn === "cancelled") return { kind: "cancelled" };
    try {
      const { connection, status } = await this.#options.registry.kernel(session, call.signal);
      this.#languages = connection.languages;
      if (call.signal.aborted) return { kind: "cancelled" };
      const unknown = this.#unsupported(call.language);
      if (unknown !== null) return unknown;
      const result = await connection.run(call, this.#limits);
      const outcome = await this.#outcome(call, result, connection.sandboxId, status, session);
      if (outcome.kind === "finished") session.hasState = outcome.kernel.after === "kept";
      return outcome;
    } finally {
      session.lastUsedAt = performance.now();
      session.queue.release();
    }
  }

  async #outcome(
    call: CallRequest,
    result: RunResult,
    sandboxId: string,
    status: NewOrReused,
    session: Session | null,
  ): Promise<CallOutcome> {
    switch (result.kind) {
      case "replied":
        return this.#replied(call, result, status, session);
      case "lost":
        return this.#lost(call, result, sandboxId, status, session);
      default:
        return result;
    }
  }

  #replied(call: CallRequest, result: Replied, status: NewOrReused, session: Session | null): Finished {
    const { reply } = result;
    return {
      kind: "finished",
      stdout: result.stdout,
      stderr: result.stderr,
      stdoutTruncated: reply.stdout_truncated || result.stdoutCut,
      stderrTruncated: reply.stderr_truncated || result.stderrCut,
      exitCode: reply.exit_code,
      signal: reply.signal,
      reason: reply.reason,
      wallTimeMs: reply.wall_time_ms,
      kernel: { status, after: reply.kernel, lostBefore: this.#tell(call, session) },
      inputs: reply.inputs ?? null,
      skipped: reply.skipped ?? [],
      undelivered: result.undelivered,
    };
  }

  /** Only Python has variables to miss; helpers in other languages must find their standard error clean. */
  #tell(call: CallRequest, session: Session | null): string | null {
    if (session === null || call.language !== "py") return null;
    const { lost } = session;
    session.lost = null;
    return lost;
  }

  async #lost(
    call: CallRequest,
    result: Lost,
    sandboxId: string,
    status: NewOrReused,
    session: Session | null,
  ): Promise<CallOutcome> {
    const { registry, sandboxes } = this.#options;
    if (call.signal.aborted && session === null) return { kind: "cancelled" };
    const finished = (reason: Finished["reason"], exitCode: number | null): Finished => {
      // The reply itself says that the kernel is gone: nothing is left to tell the next call.
      const lostBefore = this.#tell(call, session);
      if (session !== null) registry.lose(session, null);
      return {
        kind: "finished",
        stdout: result.stdout,
        stderr: result.stderr,
        stdoutTruncated: result.stdoutCut,
        stderrTruncated: result.stderrCut,
        exitCode,
        signal: exitCode === null ? "SIGKILL" : null,
        reason,
        wallTimeMs: result.elapsedMs,
        kernel: { status, after: "gone", lostBefore },
        inputs: null,
        skipped: [],
        undelivered: result.undelivered,
      };
    };
    if (result.why !== "closed") {
      // The ladder's last step.
      await sandboxes.remove(sandboxId);
      return finished(result.why === "deadline" ? "timeout" : "sandbox_ended", null);
    }
    const fate = await sandboxes.fate(sandboxId);
    return this.#afterStreamEnd(fate, finished);
  }

  #afterStreamEnd(
    fate: Fate,
    finished: (reason: Finished["reason"], exitCode: number | null) => Finished,
  ): CallOutcome {
    if (fate.kind !== "ended") {
      return {
        kind: "unavailable",
        error: "launcher_unavailable",
        message:
          "The launcher restarted while the code ran; its output is lost, the session's files are kept",
      };
    }
    if (fate.end.reason === "engine_lost") {
      return {
        kind: "unavailable",
        error: "engine_unavailable",
        message: "The container engine went away while the code ran; the session's files are kept",
      };
    }
    return fate.end.reason === "out_of_memory"
      ? finished("out_of_memory", null)
      : finished("sandbox_ended", fate.end.reason === "exited" ? fate.end.exit_code : null);
  }

  #unsupported(language: string): NotRun | null {
    const supported = this.#languages.map(({ id }) => id);
    if (supported.length === 0 || supported.includes(language)) return null;
    return { kind: "unsupported_language", language, supported };
  }

  #notRun(error: unknown, signal: AbortSignal): NotRun {
    if (signal.aborted) return { kind: "cancelled" };
    if (error instanceof HostFull) return { kind: "host_full", retryAfterSeconds: this.#retryAfter() };
    if (error instanceof LauncherUnavailable) {
      return { kind: "unavailable", error: "launcher_unavailable", message: error.message };
    }
    if (error instanceof LauncherRefusal) {
      const gone = error.code === "engine_unavailable";
      return {
        kind: "unavailable",
        error: gone ? "engine_unavailable" : "sandbox_failed",
        message: error.message,
      };
    }
    if (error instanceof SandboxBroken) {
      return { kind: "unavailable", error: "sandbox_failed", message: error.message };
    }
    throw error;
  }

  #retryAfter(): number {
    if (this.#options.pool.inUse > 0) return RETRY_AFTER_A_CALL_S;
    const idleEnd = this.#options.registry.nextIdleEndMs;
    return clamp(Math.ceil((idleEnd ?? 0) / 1000), 1, LONGEST_RETRY_AFTER_S);
  }
}
