/** Counts of usage that no file has. */
import { Usage } from "../../gateway/server/usage/usage.ts";

export function usageInMemory(): Usage {
  return new Usage({
    path: null,
    now: Date.now,
    onProblem: (problem) => {
      throw new Error(problem ?? "nothing was wrong");
    },
  });
}
