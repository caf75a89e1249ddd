/** What takes a call to find out, kept for a while: many who look cost one call. */
import type { Executor, Finished } from "../execution/call.ts";

const KEPT_MS = 300_000;
const TIMEOUT_MS = 60_000;

export interface Seen<T> {
  readonly at: Date;
  readonly value: T;
}

export class Look<T> {
  readonly #find: () => Promise<T>;
  #last: Seen<T> | null = null;
  #underWay: Promise<Seen<T>> | null = null;

  constructor(find: () => Promise<T>) {
    this.#find = find;
  }

  /** Rejects as `find` does, and keeps nothing then. */
  async take(anew: boolean): Promise<Seen<T>> {
    const last = this.#last;
    if (!anew && last !== null && Date.now() - last.at.getTime() < KEPT_MS) return last;
    this.#underWay ??= this.#look().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  async #look(): Promise<Seen<T>> {
    const seen = { value: await this.#find(), at: new Date() };
    this.#last = seen;
    return seen;
  }
}

/** Runs the service's own Python in a sandbox of its own, as a call of a user would run. Null: it could not. */
export async function runOnce(
  executor: Executor,
  code: string,
  args: readonly string[] = [],
): Promise<Finished | null> {
  const outcome = await executor.execute({
    language: "py",
    code,
    args,
    script: true,
    timeoutMs: TIMEOUT_MS,
    binding: { kind: "fresh", caller: null },
    inputs: [],
    outputs: null,
    signal: AbortSignal.timeout(2 * TIMEOUT_MS),
  });
  return outcome.kind === "finished" ? outcome : null;
}
