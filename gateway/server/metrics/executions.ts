/** Calls of callers, counted by what came of them. */
import type { CallOutcome, CallRequest, Executor, Finished } from "../execution/call.ts";
import type { Metrics } from "./metrics.ts";
import type { CALL_LOSSES, OUTCOMES } from "./table.ts";

export type Outcome = (typeof OUTCOMES)[number];
type CallLoss = (typeof CALL_LOSSES)[number];

export function measured(executor: Executor, metrics: Metrics): Executor {
  const language = (id: string) =>
    executor.languages().some((declared) => declared.id === id) ? id : "other";
  return {
    languages: () => executor.languages(),
    async execute(call) {
      let outcome: CallOutcome | null = null;
      try {
        outcome = await executor.execute(call);
        return outcome;
      } finally {
        count(metrics, call, language(call.language), outcome);
      }
    },
  };
}

function count(metrics: Metrics, call: CallRequest, language: string, outcome: CallOutcome | null): void {
  metrics.add("kernelyard_executions_total", { language, outcome: outcomeWord(outcome) });
  if (outcome?.kind !== "finished") return;
  const { kernel, wallTimeMs } = outcome;
  const { kind } = call.binding;
  metrics.observe("kernelyard_execution_seconds", { language }, wallTimeMs / 1000);
  if (kernel.status === "new") metrics.add("kernelyard_kernel_starts_total", { kind });
  // A sandbox of one call takes nothing with it that anybody misses.
  if (kind === "fresh") return;
  metrics.observe("kernelyard_queue_wait_seconds", {}, kernel.waitedMs / 1000);
  if (kernel.after === "restarted")
    metrics.add("kernelyard_kernel_restarts_total", { reason: loss(outcome) });
  if (kernel.after === "gone") {
    const reason = outcome.reason === "sandbox_ended" ? "sandbox_ended" : loss(outcome);
    metrics.add("kernelyard_kernel_losses_total", { reason });
  }
}

/** How a call went, in one word; null: the service failed at it. */
export function outcomeWord(outcome: CallOutcome | null): Outcome {
  if (outcome === null) return "error";
  if (outcome.kind !== "finished") return outcome.kind;
  if (outcome.reason === null) return outcome.exitCode === 0 ? "completed" : "failed";
  return outcome.reason === "stdout_limit" ? "output_limit" : outcome.reason;
}

function loss({ reason }: Finished): CallLoss {
  if (reason === "stdout_limit") return "output_limit";
  // The code ended its own interpreter.
  return reason === null || reason === "sandbox_ended" ? "exit" : reason;
}
