/** One call, from what the route asked for to what came of it. The route knows nothing of kernels, the kernel nothing of HTTP. */
import type { EndReason, Loss } from "../../common/protocol/messages.ts";
import type { RunRequest } from "../kernel/run.ts";
import type { Binding, KernelLeft, KernelStatus } from "../sessions/lease.ts";

/** One run, and where: `signal` also takes a waiting call out of its session's queue. */
export interface CallRequest extends RunRequest {
  readonly binding: Binding;
}

/** What happened to the kernel that served the call. */
export interface KernelReport extends KernelLeft {
  readonly status: KernelStatus;
  /** Time that other calls of the session took first. */
  readonly waitedMs: number;
  /** It was interrupted because another call of its session waited. */
  readonly gaveWay: boolean;
  /** Why variables that an earlier call of this session made are not there any more; one sentence, told once. */
  readonly lostBefore: string | null;
}

/** What became of the inputs, by path. */
export interface InputReport {
  readonly unchanged: readonly string[];
  readonly modified: readonly string[];
  readonly deleted: readonly string[];
}

/** What the sandbox did not collect. Paths and reasons are unverified text from there. */
export interface LeftBehind {
  /** The first of those that somebody may wait for. */
  readonly paths: readonly string[];
  /** All of them, by reason. */
  readonly counts: Readonly<Partial<Record<Loss, number>>>;
  /** Why the data directory as a whole was not looked through; null: it was. */
  readonly directory: string | null;
}

/** The code ran, however it ended. */
export interface Finished {
  readonly kind: "finished";
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutTruncated: boolean;
  readonly stderrTruncated: boolean;
  /** `null` when a signal ended the code. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** `sandbox_ended`: the code ended its own supervisor, or it had to be removed. */
  readonly reason: EndReason | "sandbox_ended" | null;
  readonly wallTimeMs: number;
  /** The call's time limit. */
  readonly timeoutMs: number;
  readonly kernel: KernelReport;
  /** `null` when nothing was collected, or the sandbox ended before it could say. */
  readonly inputs: InputReport | null;
  /** Files that were there and not collected. */
  readonly leftBehind: LeftBehind;
  /** Files that the sink refused or that broke off. */
  readonly undelivered: readonly { readonly path: string; readonly message: string }[];
  /** Nobody waited any more: what came is not to be kept, since the next call of the session brings it again. */
  readonly takenBack: boolean;
}

export interface Unavailable {
  readonly kind: "unavailable";
  readonly error:
    | "engine_unavailable"
    | "launcher_unavailable"
    | "sandbox_failed"
    | "shutting_down"
    | "storage_full";
  readonly message: string;
}

/** The service could not run the code. */
export type NotRun =
  | { readonly kind: "busy"; readonly message: string }
  /** Every place of the host is taken by a running call. */
  | { readonly kind: "host_full" }
  /** This caller runs `most` calls, and more they may not. */
  | { readonly kind: "caller_full"; readonly most: number }
  | Unavailable
  | {
      readonly kind: "unsupported_language";
      readonly language: string;
      readonly supported: readonly string[];
    }
  | { readonly kind: "input_failed"; readonly path: string; readonly message: string }
  /** Arguments, tool names and file names together are too long; the message says which, and what to do. */
  | { readonly kind: "too_large"; readonly message: string }
  /** The session was this host's when the call came, and was not any more when it was to run. */
  | { readonly kind: "fenced" }
  | { readonly kind: "cancelled" };

export type CallOutcome = Finished | NotRun;

/** The one entrance to running code. */
export interface Executor {
  execute(call: CallRequest): Promise<CallOutcome>;
  /** Ids and versions that the image declares; empty until a sandbox has said so. */
  languages(): readonly { readonly id: string; readonly version: string }[];
}
