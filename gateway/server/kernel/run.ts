/** What a kernel is asked to run, what goes in and out beside the code, and what came of it. */
import type { Readable } from "node:stream";
import type { CollectRules, SandboxMessage, ToolDeclaration } from "../../common/protocol/messages.ts";

export type Message<T extends SandboxMessage["msg_type"]> = Extract<SandboxMessage, { msg_type: T }>;
export type ExecuteReply = Message<"execute_reply">["content"];

/** A file that is put into the data directory before the code runs. */
export interface InputFile {
  /** Relative to the data directory, NFC, `/`-separated, no `.` or `..` segments. */
  readonly path: string;
  readonly size: number;
  readonly readOnly: boolean;
  /** Called once, when its turn comes; destroyed when the run ends early. */
  open(): Readable;
}

/** A file that the run created or changed, as the sandbox announced it. Its path is unverified text from there. */
export interface OutputFile {
  readonly path: string;
  readonly size: number;
  readonly change: "created" | "modified";
}

/** Takes the files that a run leaves. */
export interface OutputSink {
  /**
   * Called for one file at a time. The body is read at the pace of this consumer and fails when the sandbox breaks
   * off. Rejecting marks the file as not delivered; resolving early skips the rest of the body.
   */
  accept(file: OutputFile, body: Readable): Promise<void>;
}

export interface RunRequest {
  /** An id that the image declares (`py`, `bash` …). */
  readonly language: string;
  readonly code: string;
  readonly args: readonly string[];
  /** Nothing follows in this sandbox: the code is a program, and not a cell of a session. */
  readonly script?: boolean | undefined;
  readonly timeoutMs: number;
  readonly inputs: readonly InputFile[];
  /** `null`: nothing is collected. */
  readonly outputs: OutputSink | null;
  readonly tools?: readonly ToolDeclaration[] | undefined;
  /**
   * Answers the program's tool calls; it waits, and its clock stands still meanwhile. Both are JSON arrays, as the sandbox
   * wrote them and as it is to read them, the latter in pieces. Rejecting ends the run, with a `Violation` the sandbox.
   */
  readonly onToolCalls?: ((calls: Buffer) => Promise<readonly Buffer[]>) | undefined;
  /** Asked right before the code is handed to the kernel. False: it is not, and nobody has seen it. */
  readonly mayRun?: (() => boolean) | undefined;
  /** The code has been handed to the kernel; nobody else's call is waited for any more. */
  readonly onRunning?: (() => void) | undefined;
  /** Output as it comes, for streaming replies; whole output is in the result all the same. */
  readonly onStream?: ((name: "stdout" | "stderr", bytes: Buffer) => void) | undefined;
  /** What the code shows as it shows it: the file's name and its bytes, within `DISPLAY_RULES`; the outputs have it all the same. */
  readonly onShown?: ((name: string, bytes: Buffer) => void) | undefined;
  /** Aborted when nobody waits any more: before the code runs it is given up, afterwards interrupted. */
  readonly signal: AbortSignal;
}

/** What one run may leave. The operator's, the same for all. */
export interface RunLimits {
  /** UTF-16 units of each stream. */
  readonly stdout: number;
  readonly stderr: number;
  readonly collect: Omit<CollectRules, "inputs">;
}

export interface Undelivered {
  readonly path: string;
  readonly message: string;
}

export interface RunOutput {
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutCut: boolean;
  readonly stderrCut: boolean;
  readonly undelivered: readonly Undelivered[];
}

/** An input that could not be written. */
export interface InputFailure {
  readonly path: string;
  readonly message: string;
}

export type RunResult =
  | ({ readonly kind: "replied"; readonly reply: ExecuteReply } & RunOutput)
  /** The sandbox did not reply: its stream ended, it lied, it let the deadline pass, or this side let go of it. */
  | ({
      readonly kind: "lost";
      readonly why: "closed" | "violation" | "deadline" | "released";
      readonly detail: string;
      readonly executing: boolean;
      readonly elapsedMs: number;
    } & RunOutput)
  | ({ readonly kind: "input_failed" } & InputFailure)
  /** What is asked does not fit its header; the sandbox has seen nothing of it. */
  | { readonly kind: "too_large"; readonly message: string }
  /** It might not run any more when its turn came; the kernel has not seen it. */
  | { readonly kind: "fenced" }
  /** Given up before the code ran; the kernel is untouched. */
  | { readonly kind: "cancelled" };
