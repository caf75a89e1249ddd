/** Calls whose code ran, counted for their tenant. */
import type { Executor } from "../execution/call.ts";
import type { Usage } from "./usage.ts";

export function metered(executor: Executor, usage: Pick<Usage, "add">): Executor {
  return {
    languages: () => executor.languages(),
    async execute(call) {
      const outcome = await executor.execute(call);
      const { caller } = call.binding;
      if (outcome.kind === "finished" && caller !== null) {
        usage.add(caller.tenant, { calls: 1, seconds: outcome.wallTimeMs / 1000 });
      }
      return outcome;
    },
  };
}
