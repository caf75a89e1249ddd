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
    await service.forget(session);
    const cold = await timedEach(lab.count(RUNS), () => dockerRun(["python3.11", "-c", LIBRARIES], PRINTED));
    const own = summarise(ours).p50;
    return [
      p50("p50", ours, {
        ratio: times(own, "the same in a session", summarise(warm).p50),
        goal: { atMost: 10 },
      }),
      p50("the same code in a session, p50", warm),
      p50("docker run with the same imports, p50", cold, {
        ratio: times(summarise(cold).p50, "pool hit", own),
      }),
    ];
  },
  because: (of) => `the same code in a session that is awake takes ${of("the same code in a session, p50")}`,
};
