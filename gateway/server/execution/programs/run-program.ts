/** One program as a call of the execution layer: files in, rounds of tools, files out, the last reply. */
import type { TenantCaller } from "../../auth/principal.ts";
import type { CallOutcome, Executor, NotRun } from "../call.ts";
import type { ExecFiles } from "../files/call-files.ts";
import type { ReplyFiles } from "../files/lineage.ts";
import { stderrWithNotes } from "../verdict.ts";
import type { ProgramHooks } from "./program.ts";
import { failureOf, INTERRUPTED } from "./reply.ts";

export interface ProgramCall {
  readonly caller: TenantCaller;
  readonly language: "py" | "bash";
  readonly code: string;
  readonly timeoutMs: number;
  readonly toolNames: readonly string[];
  readonly files: ExecFiles;
}

/** The body of the last reply, or why the program never ran. */
export type ProgramReply =
  | { readonly kind: "not_run"; readonly outcome: NotRun }
  | ({ readonly kind: "completed" } & ProgramOutput)
  | ({ readonly kind: "error"; readonly error: string } & ProgramOutput);

export interface ProgramOutput {
  readonly stdout: string;
  readonly stderr: string;
  readonly files: ReplyFiles;
}

export async function runProgram(
  executor: Executor,
  call: ProgramCall,
  hooks: ProgramHooks,
): Promise<ProgramReply> {
  const { files } = call;
  let outcome: CallOutcome;
  try {
    outcome = await executor.execute({
      language: call.language,
      code: call.code,
      args: [],
      timeoutMs: call.timeoutMs,
      // Never the session's kernel: a program that waits for its tools would block every other call of that session.
      binding: { kind: "fresh", caller: call.caller },
      inputs: files.inputs,
      outputs: files.outputs,
      tools: call.toolNames.map((name) => ({ name })),
      onToolCalls: hooks.onToolCalls,
      onStream: hooks.onStream,
      signal: hooks.signal,
    });
  } catch (error) {
    await files.discard();
    throw error;
  }
  if (outcome.kind !== "finished") {
    await files.discard();
    const ended = hooks.failure() ?? (outcome.kind === "cancelled" ? INTERRUPTED : null);
    if (ended === null) return { kind: "not_run", outcome };
    return { kind: "error", error: ended, stdout: "", stderr: "", files: { files: [] } };
  }
  const output: ProgramOutput = {
    stdout: outcome.stdout,
    stderr: stderrWithNotes(outcome, false, files.notes),
    files: await files.settle(outcome),
  };
  const error = failureOf(outcome, hooks.failure());
  return error === null ? { kind: "completed", ...output } : { kind: "error", error, ...output };
}
