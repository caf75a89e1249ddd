/** The last reply of a program, in the words that the client shows to the model; others it replaces by a general line. */
import type { Finished } from "../call.ts";

/** Ended from outside, or by its own sandbox. */
export const INTERRUPTED = "Execution failed or timed out";

/** Null when the program completed. */
export function failureOf(outcome: Finished, failure: string | null): string | null {
  if (failure !== null) return failure;
  switch (outcome.reason) {
    case "timeout":
      return "Time limit exceeded";
    case "stdout_limit":
      return "stdout length exceeded";
    case "out_of_memory":
      return "Out of memory";
    case "interrupted":
    case "kernel_died":
    case "sandbox_ended":
      return INTERRUPTED;
    case null:
      return outcome.exitCode === 0 ? null : `Sandbox exited with code ${outcome.exitCode ?? "unknown"}`;
  }
}
