/** Python as LibreChat's conversations run it, inside bash: by a fork of the template, and by the interpreter itself. */
import { setTimeout as delay } from "node:timers/promises";
import { figure, type Goal, p50, type Row } from "../row.ts";
import { summarise, timed } from "../statistics.ts";
import { LIBRARIES, PRINTED } from "./fresh.ts";

const CALLS = 30;
const ECHOES = 15;
/** Between two calls, as in a conversation: what a call leaves to be made anew is there again. */
const PAUSE_MS = 400;
const HINT = "bench-bash";

const heredoc = (command: string, code: string) => `${command} - <<'PY'\n${code}\nPY`;

const FORK = "KERNELYARD_PYTHON=explain python3";
/** Name of the figure, program, what it prints. */
const KINDS = {
  forked: ["python3 with pandas, numpy, pyplot, p50", heredoc(FORK, LIBRARIES), PRINTED],
  plain: ["python3.11, the same, p50", heredoc("python3.11", LIBRARIES), PRINTED],
  forkedBare: ["python3 that imports nothing, p50", heredoc(FORK, "print(1+1)"), "2\n"],
  plainBare: ["python3.11 that imports nothing, p50", heredoc("python3.11", "print(1+1)"), "2\n"],
  cell: ["kernel, with pandas, numpy, pyplot, p50", heredoc("kernel", LIBRARIES), PRINTED],
  echo: ["echo in a session, p50", "echo hello", "hello\n"],
} as const;
type Kind = keyof typeof KINDS;
const GOALS: Partial<Record<Kind, { readonly goal: Goal }>> = { forked: { goal: { atMost: 120 } } };

export const bash: Row = {
  name: "bash",
  title: "Python inside bash, as LibreChat's conversations run it",
  async measure(lab) {
    const service = await lab.usual();
    const samples: Record<Kind, number[]> = {
      forked: [],
      plain: [],
      forkedBare: [],
      plainBare: [],
      cell: [],
      echo: [],
    };
    const kinds = Object.keys(KINDS).filter((kind): kind is Kind => kind in KINDS);
    const call = (kind: Kind) =>
      service.exec({ lang: "bash", code: KINDS[kind][1], runtime_session_hint: HINT }, KINDS[kind][2]);
    // Files of the page cache, byte code, the font list: both kinds have them from here on.
    for (const kind of kinds) await call(kind);
    // By turns: what the machine does besides hits all alike.
    for (let n = 0; n < lab.count(CALLS); n += 1) {
      for (const kind of kinds) {
        await delay(lab.count(PAUSE_MS));
        samples[kind].push(await timed(() => call(kind)));
      }
    }
    const fromPool: number[] = [];
    for (let n = 0; n < lab.count(ECHOES); n += 1) {
      await service.poolIsFull();
      fromPool.push(await timed(() => service.exec({ lang: "bash", code: "echo hello" }, "hello\n")));
    }
    const times = (slow: Kind, fast: Kind) => summarise(samples[slow]).p50 / summarise(samples[fast]).p50;
    return [
      ...kinds.map((kind) => p50(KINDS[kind][0], samples[kind], GOALS[kind])),
      p50("echo from the pool, p50", fromPool, { goal: { atMost: 12 } }),
      figure("python3 faster than python3.11, with the libraries", times("plain", "forked"), "×", {
        goal: { atLeast: 15 },
      }),
      figure("python3 faster than python3.11, importing nothing", times("plainBare", "forkedBare"), "×", {
        goal: { atLeast: 1 },
      }),
    ];
  },
  because: (of) =>
    `in a session that is awake the same takes ${of("echo in a session, p50")}: bash itself, started and ended under gVisor`,
};
