/** What came of a run, told truthfully: by the kernel's reply, or by how its sandbox ended without one. */
import type { ExecuteReply, RunResult } from "../kernel/run.ts";
import type { Fate, KernelLeft, Lease } from "../sessions/lease.ts";
import type { CallOutcome, CallRequest, Finished, KernelReport, LeftBehind } from "./call.ts";

type Lost = Extract<RunResult, { kind: "lost" }>;
type Replied = Extract<RunResult, { kind: "replied" }>;

/** Rejects with `LauncherUnavailable` when the sandbox ended and nobody can say why. */
export async function outcomeOf(call: CallRequest, lease: Lease, result: RunResult): Promise<CallOutcome> {
  switch (result.kind) {
    case "replied":
      return replied(call, lease, result);
    case "lost":
      return lost(call, lease, result);
    default:
      return result;
  }
}

function kernelReport(call: CallRequest, lease: Lease, left: KernelLeft): KernelReport {
  return {
    ...left,
    status: lease.status,
    waitedMs: lease.waitedMs,
    gaveWay: lease.gaveWay(),
    // Only Python has variables to miss, and a bash program whose cell (`kernel`) is the first of the new kernel; helpers in other
    // languages must find their standard error clean.
    lostBefore: lease.lostBefore(call.language === "py" || left.cells > 0),
  };
}

function replied(call: CallRequest, lease: Lease, result: Replied): Finished {
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
    timeoutMs: call.timeoutMs,
    kernel: kernelReport(call, lease, { after: reply.kernel, cells: reply.execution_count }),
    inputs: reply.inputs ?? null,
    leftBehind: leftBehind(reply),
    undelivered: result.undelivered,
    takenBack: reply.taken_back ?? false,
  };
}

const NOTHING_LEFT: LeftBehind = { paths: [], counts: {}, directory: null };

function leftBehind({ skipped = [], lost = {} }: ExecuteReply): LeftBehind {
  return {
    paths: skipped.filter(({ loss }) => loss != null).map(({ path }) => path),
    counts: lost,
    directory: skipped.find(({ path, loss }) => path === "." && loss == null)?.reason ?? null,
  };
}

async function lost(call: CallRequest, lease: Lease, result: Lost): Promise<CallOutcome> {
  switch (result.why) {
    // The ladder's last step: the sandbox goes.
    case "deadline":
      return gone(call, lease, result, lease.gaveWay() ? "interrupted" : "timeout", null);
    case "violation":
      return gone(call, lease, result, "sandbox_ended", null);
    case "released":
      return { kind: "cancelled" };
    case "closed":
      return afterStreamEnd(call, lease, result, await lease.fate());
  }
}

function gone(
  call: CallRequest,
  lease: Lease,
  result: Lost,
  reason: Finished["reason"],
  exitCode: number | null,
): Finished {
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
    timeoutMs: call.timeoutMs,
    kernel: kernelReport(call, lease, { after: "gone", cells: 0 }),
    inputs: null,
    leftBehind: NOTHING_LEFT,
    undelivered: result.undelivered,
    takenBack: false,
  };
}

function afterStreamEnd(call: CallRequest, lease: Lease, result: Lost, fate: Fate): CallOutcome {
  if (fate.kind !== "ended") {
    return {
      kind: "unavailable",
      error: "launcher_unavailable",
      message: "The launcher restarted while the code ran; its output is lost, the session's files are kept",
    };
  }
  const { end } = fate;
  switch (end.reason) {
    case "engine_lost":
      return {
        kind: "unavailable",
        error: "engine_unavailable",
        message: "The container engine went away while the code ran; the session's files are kept",
      };
    case "out_of_memory":
      return gone(call, lease, result, "out_of_memory", null);
    default:
      return gone(call, lease, result, "sandbox_ended", end.reason === "exited" ? end.exit_code : null);
  }
}
