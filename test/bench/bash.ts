/** Python as LibreChat's conversations run it, inside bash: by a fork of the template, and by the interpreter itself. */
import { setTimeout as delay } from "node:timers/promises";

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

/** What is to be compared: the interpreter itself, then the fork. */
export const BASH_PAIRS = [
  [BASH_ROWS.plain, BASH_ROWS.forked],
  [BASH_ROWS.plainBare, BASH_ROWS.forkedBare],
] as const;

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
