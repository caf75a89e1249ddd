/** A session that sleeps is called. */
import { setTimeout as delay } from "node:timers/promises";
import { longest, p50, type Row, times } from "../row.ts";
import { newSession } from "../service.ts";
import { summarise, timed, timedEach } from "../statistics.ts";
import { emptyContainer } from "../yardsticks/docker-command.ts";

const SLEEPERS = 10;
const RUNS = 5;
const ENV = { KERNELYARD_SLEEP_AFTER_MS: "2000", KERNELYARD_POOL_SIZE: "0" };

export const wake: Row = {
  name: "wake",
  title: "wake of a sleeping session, first answer",
  async measure(lab) {
    const ours = await lab.own("ready", ENV, async (service) => {
      const sessions = Array.from({ length: lab.count(SLEEPERS) }, newSession);
      for (const [n, session] of sessions.entries())
        await service.run(session, `x = ${n}\nprint(x)`, `${n}\n`);
      // All of them: none of those that wake is measured while another one falls asleep.
      while ((await service.sleeping()).sessions < sessions.length) await delay(50);
      const samples: number[] = [];
      for (const [n, session] of sessions.entries())
        samples.push(await timed(() => service.run(session, "print(x + 1)", `${n + 1}\n`)));
      return samples;
    });
    const nothing = await timedEach(lab.count(RUNS), emptyContainer);
    const start = summarise(nothing).p50;
    return [
      p50("p50", ours, {
        ratio: times(summarise(ours).p50, "an empty container", start),
        goal: { atMost: 450 },
      }),
      longest("the longest", ours),
      p50("docker run of an empty container, p50", nothing),
    ];
  },
  because: (of) =>
    `an empty gVisor container takes ${of("docker run of an empty container, p50")} here to start and end, and a restore starts one`,
};
