/** Many sessions at once, each with a little work: what is in their way beside gVisor. */
import { availableParallelism } from "node:os";
import { figure, type Row } from "../row.ts";
import { newSession } from "../service.ts";
import { CpuTime, PARTS, type Part } from "../yardsticks/cpu-time.ts";
import { RawKernel } from "../yardsticks/raw-kernel.ts";

const SIZES = [10, 50] as const;
const ROUNDS = 4;
const ROUND_MS = 4000;
const AT_ONCE = 4;
const CODE = `import time
until = time.perf_counter() + 0.002
while time.perf_counter() < until: pass
print("done")`;
const PRINTED = "done\n";
/** A session that gave way to another one has lost it: then the host was full, and calls are not what was measured. */
const KEPT = "kept\n";
/** All of them fit by count and by the disk that each is promised; what they use is a third of what they may. */
const ENV = {
  KERNELYARD_POOL_SIZE: "0",
  KERNELYARD_SLEEP_AFTER_MS: "0",
  KERNELYARD_MEMORY_BUDGET: "128g",
  KERNELYARD_SESSION_DISK: "128m",
};

const partOfCall = (size: number, part: Part) => `${size} sessions, CPU time a call, ${part}`;

/** The machine's CPU time for each call, while all CPUs have work. */
const millisecondsOf = (callsASecond: number) => (1000 * availableParallelism()) / callsASecond;

type Call = () => Promise<void>;

async function inTurn<T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let n = 0; n < count; n += AT_ONCE)
    made.push(
      ...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - n) }, (_, i) => make(n + i)))),
    );
  return made;
}

/** Calls of all together that were answered in this time, each caller's one after another. */
async function answeredIn(ms: number, calls: readonly Call[]): Promise<{ calls: number; seconds: number }> {
  const began = performance.now();
  let answered = 0;
  const caller = async (call: Call) => {
    while (performance.now() - began < ms) {
      await call();
      answered += 1;
    }
  };
  await Promise.all(calls.map(caller));
  return { calls: answered, seconds: (performance.now() - began) / 1000 };
}

export const throughput: Row = {
  name: "throughput",
  title: "10 and 50 sessions, 2 ms of work per call",
  async measure(lab) {
    const sizes = lab.trial ? ([1, 2] as const) : SIZES;
    const kernels: RawKernel[] = [];
    try {
      return await lab.own("ready", ENV, async (service) => {
        const most = Math.max(...sizes);
        const clients = await inTurn(most, async () => {
          const client = service.connect();
          const session_id = newSession();
          const call = () => client.output("/run", { session_id, code: CODE }, PRINTED);
          await client.output("/run", { session_id, code: "kept = 'kept'; print(kept)" }, KEPT);
          await call();
          const check = () => client.output("/run", { session_id, code: "print(kept)" }, KEPT);
          return { client, call, check };
        });
        await inTurn(most, async () => {
          const kernel = await RawKernel.start();
          kernels.push(kernel);
          await kernel.run(CODE, PRINTED);
        });
        const figures = [];
        const pids = { gateway: service.stack.gatewayPid, launcher: service.stack.launcherPid };
        for (const size of sizes) {
          const cpu = new CpuTime(pids);
          const total = { ours: { calls: 0, seconds: 0 }, raw: { calls: 0, seconds: 0 } };
          const sides = {
            raw: kernels.slice(0, size).map((kernel) => () => kernel.run(CODE, PRINTED)),
            ours: clients.slice(0, size).map(({ call }) => call),
          };
          for (let n = 0; n < lab.count(ROUNDS); n += 1) {
            for (const side of ["raw", "ours"] as const) {
              const round = () => answeredIn(lab.count(ROUND_MS, 50), sides[side]);
              const { calls, seconds } = await (side === "ours" ? cpu.during(round) : round());
              total[side].calls += calls;
              total[side].seconds += seconds;
            }
          }
          const rate = (side: { calls: number; seconds: number }) => side.calls / side.seconds;
          const [own, raw] = [rate(total.ours), rate(total.raw)];
          figures.push(
            figure(`${size} sessions, calls a second of the raw streams'`, (100 * own) / raw, "%", {
              count: total.ours.calls,
              ratio: { of: "raw stream", value: own / raw },
              goal: { atLeast: 85 },
            }),
            figure(`${size} sessions, CPU time a call, raw`, millisecondsOf(raw), "ms", {
              count: total.raw.calls,
            }),
            figure(`${size} sessions, CPU time a call, over HTTP`, millisecondsOf(own), "ms", {
              count: total.ours.calls,
            }),
            ...PARTS.map((part) =>
              figure(partOfCall(size, part), cpu.of(part) / total.ours.calls, "ms", {
                count: total.ours.calls,
              }),
            ),
          );
        }
        for (const { check, client } of clients) {
          await check();
          client.close();
        }
        return figures;
      });
    } finally {
      for (const kernel of kernels) await kernel.stop();
    }
  },
  because: (of) =>
    `all CPUs are busy, and a call takes ${of("50 sessions, CPU time a call, over HTTP")} of them over HTTP against ` +
    `${of("50 sessions, CPU time a call, raw")} raw: ${PARTS.map((part) => `${part} ${of(partOfCall(50, part))}`).join(", ")}`,
};
