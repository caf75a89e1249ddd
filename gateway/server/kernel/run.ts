/** One run as its connection is asked for it, and what came of it. */

import type { CollectRules, SandboxMessage, ToolDeclaration } from "../../common/protocol/messages.ts";
import type { InputFile, OutputSink, ToolCall, ToolResult } from "../execution/call.ts";

export type Message<T extends SandboxMessage["msg_type"]> = Extract<SandboxMessage, { msg_type: T }>;
export type ExecuteReply = Message<"execute_reply">["content"];

export interface RunRequest {
  readonly language: string;
  readonly code: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly stdoutLimit: number;
  readonly stderrLimit: number;
  readonly inputs: readonly InputFile[];
  readonly collect: { readonly rules: Omit<CollectRules, "inputs">; readonly sink: OutputSink } | null;
  readonly tools?: readonly ToolDeclaration[] | undefined;
  readonly onToolCalls?: ((calls: readonly ToolCall[]) => Promise<readonly ToolResult[]>) | undefined;
  readonly onStream?: ((name: "stdout" | "stderr", bytes: Buffer) => void) | undefined;
  readonly signal: AbortSignal;
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
  /** The sandbox did not reply: its stream ended, it lied, or it let the deadline pass. */
  | ({
      readonly kind: "lost";
      readonly why: "closed" | "violation" | "deadline";
      readonly detail: string;
      readonly executing: boolean;
      readonly elapsedMs: number;
    } & RunOutput)
  | ({ readonly kind: "input_failed" } & InputFailure)
  /** What is asked does not fit its header; the sandbox has seen nothing of it. */
  | { readonly kind: "too_large"; readonly message: string }
  /** Given up before the code ran; the kernel is untouched. */
  | { readonly kind: "cancelled" };
