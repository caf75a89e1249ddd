/** One call, from what the route asked for to what came of it. The route knows nothing of kernels, the kernel nothing of HTTP. */
import type { Readable } from "node:stream";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { EndReason, ToolDeclaration } from "../../common/protocol/messages.ts";
import type { Principal } from "../auth/principal.ts";

/** A file that is put into the data directory before the code runs. */
export interface InputFile {
  /** Relative to the data directory, NFC, `/`-separated, no `.` or `..` segments. */
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  /** Called once, when its turn comes; destroyed when the call ends early. */
  open(): Readable;
}

/** A file that the call created or changed, as the sandbox announced it. Its path is unverified text from there. */
export interface OutputFile {
  readonly path: string;
  readonly size: number;
  readonly change: "created" | "modified";
}

/** Takes the files that a call leaves. */
export interface OutputSink {
  /**
   * Called for one file at a time. The body is read at the pace of this consumer and fails when the sandbox breaks
   * off. Rejecting marks the file as not delivered; resolving early skips the rest of the body.
   */
  accept(file: OutputFile, body: Readable): Promise<void>;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

export interface ToolResult {
  readonly call_id: string;
  readonly result: unknown;
  readonly is_error: boolean;
  readonly error_message?: string | undefined;
}

/** `fresh`: a sandbox of its own, destroyed afterwards. `session`: the live kernel of this key. */
export type Binding = { readonly kind: "fresh" } | { readonly kind: "session"; readonly key: SessionKey };

export interface CallRequest {
  readonly principal: Principal;
  /** An id that the image declares (`py`, `bash` …). */
  readonly language: string;
  readonly code: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly binding: Binding;
  readonly inputs: readonly InputFile[];
  /** `null`: nothing is collected. */
  readonly outputs: OutputSink | null;
  readonly tools?: readonly ToolDeclaration[] | undefined;
  /** Answers the program's tool calls; it waits, and its clock stands still meanwhile. Rejecting ends the call. */
  readonly onToolCalls?: ((calls: readonly ToolCall[]) => Promise<readonly ToolResult[]>) | undefined;
  /** Output as it comes, for streaming replies; whole output is in the outcome all the same. */
  readonly onStream?: ((name: "stdout" | "stderr", bytes: Buffer) => void) | undefined;
  /** Aborted when the caller hangs up: a waiting call leaves the queue, a running one is interrupted. */
  readonly signal: AbortSignal;
}

/** What happened to the kernel that served the call. */
export interface KernelReport {
  /** `reused`: this session's kernel was there already. `new`: this call started it. Fresh sandboxes are always `new`. */
  readonly status: "new" | "reused";
  /** `kept`, `restarted` (variables gone, files kept) or `gone` (the sandbox with it; a session's files are kept). */
  readonly after: "kept" | "restarted" | "gone";
  /** Why variables that an earlier call of this session made are not there any more; one sentence, told once. */
  readonly lostBefore: string | null;
}

/** What became of the inputs, by path. */
export interface InputReport {
  readonly unchanged: readonly string[];
  readonly modified: readonly string[];
  readonly deleted: readonly string[];
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
  readonly kernel: KernelReport;
  /** `null` when nothing was collected, or the sandbox ended before it could say. */
  readonly inputs: InputReport | null;
  /** Files that were there and not collected, with the sandbox's reason. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
  /** Files that the sink refused or that broke off. */
  readonly undelivered: readonly { readonly path: string; readonly message: string }[];
}

/** The service could not run the code. */
export type NotRun =
  | { readonly kind: "busy" }
  | { readonly kind: "host_full"; readonly retryAfterSeconds: number }
  | {
      readonly kind: "unavailable";
      readonly error: "engine_unavailable" | "launcher_unavailable" | "sandbox_failed" | "shutting_down";
      readonly message: string;
    }
  | {
      readonly kind: "unsupported_language";
      readonly language: string;
      readonly supported: readonly string[];
    }
  | { readonly kind: "input_failed"; readonly path: string; readonly message: string }
  /** Arguments, tool names and file names together are too long; the message says which, and what to do. */
  | { readonly kind: "too_large"; readonly message: string }
  | { readonly kind: "cancelled" };

export type CallOutcome = Finished | NotRun;

/** The one entrance to running code. */
export interface Executor {
  execute(call: CallRequest): Promise<CallOutcome>;
  /** Ids and versions that the image declares; empty until a sandbox has said so. */
  languages(): readonly { readonly id: string; readonly version: string }[];
}
