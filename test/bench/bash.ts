/** Python as LibreChat's conversations run it, inside bash: by a fork of a template, and by the interpreter itself. */
import { setTimeout as delay } from "node:timers/promises";
import { summarise } from "./statistics.ts";

const CALLS = 30;
const ECHOES = 15;
/** Between two calls, as in a conversation: what a call leaves to be made anew is there again. */
const PAUSE_MS = 400;
const HINT = "bench-bash";

export const BASH_ROWS = {
  forked: "bash: python3, with pandas, numpy, pyplot",
  plain: "bash: python3.11, the same",
  forkedBare: "bash: python3 that imports nothing",
  plainBare: "bash: python3.11 that imports nothing",
  cell: "bash: kernel, with pandas, numpy, pyplot",
  echo: "bash: echo in a session",
  freshEcho: "bash: echo from the pool",
} as const;

interface Goal {
  readonly row: string;
  /** The interpreter itself, in the same run. */
  readonly plain: string;
  /** So many times as fast as it, by the medians. */
  readonly times: number;
  readonly p50Ms?: number;
}

const GOALS: readonly Goal[] = [
  { row: BASH_ROWS.forked, plain: BASH_ROWS.plain, times: 15, p50Ms: 120 },
  { row: BASH_ROWS.forkedBare, plain: BASH_ROWS.plainBare, times: 1 },
];

/** One line for each goal: what was measured, what was to be reached, and whether it was. */
export function bashGoals(samples: Readonly<Record<string, readonly number[]>>): string[] {
  const met = (is: boolean) => (is ? "met" : "not met");
  return GOALS.map(({ row, plain, times, p50Ms }) => {
    const p50 = summarise(samples[row] ?? []).p50;
    const ratio = summarise(samples[plain] ?? []).p50 / p50;
    const line = `${row}: ${ratio.toFixed(2)} × as fast as ${plain.replace("bash: ", "")} (goal ${times} ×: ${met(ratio >= times)})`;
    return p50Ms === undefined
      ? line
      : `${line}, p50 ${p50.toFixed(1)} ms (goal ${p50Ms} ms: ${met(p50 <= p50Ms)})`;
  });
}

export interface BashBench {
  /** `/v1/exec`; rejects when the call does not print this. */
  readonly exec: (body: object, stdout: string) => Promise<void>;
  readonly measure: (name: string, count: number, call: () => Promise<void>) => Promise<void>;
  readonly poolIsFull: () => Promise<void>;
}

const LIBRARIES = `import sys, pandas, numpy, matplotlib.pyplot as plt
print(pandas.DataFrame({"a": numpy.arange(4)}).a.sum(), plt.get_backend().lower())`;

const heredoc = (command: string, code: string) => `${command} - <<'PY'\n${code}\nPY`;

export async function benchBash({ exec, measure, poolIsFull }: BashBench): Promise<void> {
  const inSession = (code: string, stdout: string) =>
    exec({ lang: "bash", code, runtime_session_hint: HINT }, stdout);
  const kinds = [
    [BASH_ROWS.forked, heredoc("KERNELYARD_PYTHON=explain python3", LIBRARIES), "6 agg\n"],
    [BASH_ROWS.plain, heredoc("python3.11", LIBRARIES), "6 agg\n"],
    [BASH_ROWS.forkedBare, heredoc("KERNELYARD_PYTHON=explain python3", "print(1+1)"), "2\n"],
    [BASH_ROWS.plainBare, heredoc("python3.11", "print(1+1)"), "2\n"],
    [BASH_ROWS.cell, heredoc("kernel", LIBRARIES), "6 agg\n"],
    [BASH_ROWS.echo, "echo hello", "hello\n"],
  ] as const;
  // Files of the page cache, byte code, the font list: both kinds have them from here on.
  for (const [, code, stdout] of kinds) await inSession(code, stdout);
  // By turns: what the machine does besides hits all alike.
  for (let i = 0; i < CALLS; i += 1) {
    for (const [name, code, stdout] of kinds) {
      await delay(PAUSE_MS);
      await measure(name, 1, () => inSession(code, stdout));
    }
  }
  for (let i = 0; i < ECHOES; i += 1) {
    await poolIsFull();
    await measure(BASH_ROWS.freshEcho, 1, () => exec({ lang: "bash", code: "echo hello" }, "hello\n"));
  }
}
