/** A call without a session that finds a sandbox ready. */
import { p50, type Row, times } from "../row.ts";
import { newSession } from "../service.ts";
import { summarise, timed, timedEach } from "../statistics.ts";
import { dockerRun } from "../yardsticks/docker-command.ts";

const CALLS = 20;
const RUNS = 5;
export const LIBRARIES = `import pandas, numpy, matplotlib.pyplot as plt
print(pandas.DataFrame({"a": numpy.arange(4)}).a.sum(), plt.get_backend().lower())`;
export const PRINTED = "6 agg\n";
/** What a fresh call would take without a fork that waits for it: one is made of a process with the libraries, and ends with the code. */
const FORKED = `import os, sys, time
began = time.perf_counter()
child = os.fork()
if child == 0:
    exec(${JSON.stringify(LIBRARIES)})
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print((time.perf_counter() - began) * 1000)`;
const IN_A_FORK = "the same code in a new fork of the session's process, p50";

export const fresh: Row = {
  name: "fresh",
  title: "fresh call with pandas, numpy, matplotlib, pool hit",
  async measure(lab) {
    const service = await lab.usual();
    const session = newSession();
    const ours: number[] = [];
    // One at a time and with a full pool, as a chat meets it.
    for (let n = 0; n < lab.count(CALLS); n += 1) {
      await service.poolIsFull();
      ours.push(await timed(() => service.fresh(LIBRARIES, PRINTED)));
    }
    await service.run(session, LIBRARIES, PRINTED);
    const warm = await timedEach(lab.count(CALLS), () => service.run(session, LIBRARIES, PRINTED));
    const client = service.connect();
    const forked: number[] = [];
    for (let n = 0; n < lab.count(CALLS); n += 1) {
      const reply = await client.post("/run", { session_id: session, code: FORKED });
      const took = /"6 agg\\n([\d.]+)\\n"/.exec(reply.text)?.[1];
      if (took === undefined) throw new Error(`a fork answered ${reply.status} ${reply.text}`);
      forked.push(Number(took));
    }
    client.close();
    await service.forget(session);
    const cold = await timedEach(lab.count(RUNS), () => dockerRun(["python3.11", "-c", LIBRARIES], PRINTED));
    const own = summarise(ours).p50;
    return [
      p50("p50", ours, {
        ratio: times(own, "the same in a session", summarise(warm).p50),
        goal: { atMost: 10 },
      }),
      p50("the same code in a session, p50", warm),
      p50(IN_A_FORK, forked),
      p50("docker run with the same imports, p50", cold, {
        ratio: times(summarise(cold).p50, "pool hit", own),
      }),
    ];
  },
  because: (of) =>
    `the same code in a session that is awake takes ${of("the same code in a session, p50")}, in a new fork of its process ${of(IN_A_FORK)}. ` +
    "A fresh call finds its fork waiting, and copies the pages that it touches, in a sandbox's share of a CPU",
};
