/** How the last call of each session went, for whoever looks at the sessions. */
import type { CallOutcome, Executor } from "../execution/call.ts";
import { type Outcome, outcomeWord } from "../metrics/executions.ts";
import { keyText } from "../sessions/session-key.ts";

/** As many as the registry remembers sessions without a kernel. */
const MOST = 10_000;

export class LastOutcomes {
  readonly #outcomes = new Map<string, Outcome>();

  /** Null: it had no call since the gateway's start. */
  of(key: Parameters<typeof keyText>[0]): Outcome | null {
    return this.#outcomes.get(keyText(key)) ?? null;
  }

  watch(executor: Executor): Executor {
    return {
      languages: () => executor.languages(),
      execute: async (call) => {
        const { binding } = call;
        if (binding.kind === "fresh") return executor.execute(call);
        let outcome: CallOutcome | null = null;
        try {
          outcome = await executor.execute(call);
          return outcome;
        } finally {
          this.#note(keyText(binding.key), outcomeWord(outcome));
        }
      },
    };
  }

  #note(key: string, outcome: Outcome): void {
    this.#outcomes.delete(key);
    this.#outcomes.set(key, outcome);
    if (this.#outcomes.size <= MOST) return;
    const [oldest] = this.#outcomes.keys();
    if (oldest !== undefined) this.#outcomes.delete(oldest);
  }
}
