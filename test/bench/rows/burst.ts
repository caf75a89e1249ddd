/** LibreChat's `bash_tool` without a session: a model that calls one after another. */
import { longest, p50, type Row, times } from "../row.ts";
import { summarise, timedEach } from "../statistics.ts";
import { emptyContainer } from "../yardsticks/docker-command.ts";

const IN_A_ROW = 10;
const ROWS = 5;
const RUNS = 5;

export const burst: Row = {
  name: "burst",
  title: "ten fresh calls in a row, `bash_tool` without a session",
  async measure(lab) {
    const service = await lab.usual();
    const ours: number[] = [];
    for (let row = 0; row < lab.count(ROWS); row += 1) {
      await service.poolIsFull();
      ours.push(
        ...(await timedEach(lab.count(IN_A_ROW, 2), () => service.fresh("echo hello", "hello\n", "bash"))),
      );
    }
    const nothing = await timedEach(lab.count(RUNS), emptyContainer);
    const start = summarise(nothing).p50;
    const own = summarise(ours).p50;
    return [
      p50("p50", ours, { ratio: times(own, "an empty container", start), goal: { atMost: 100 } }),
      longest("the longest", ours, {
        ratio: times(Math.max(...ours), "an empty container", start),
        goal: { atMost: 600 },
      }),
      p50("docker run of an empty container, p50", nothing),
    ];
  },
  because: (of) =>
    `each takes a sandbox that is made anew beside the calls; an empty gVisor container alone takes ${of("docker run of an empty container, p50")} here`,
};
