/** What a person on call has before them, and what it costs each call: the same service with and without it, by turns. */
import { randomBytes } from "node:crypto";
import { freePort } from "../../support/free-port.ts";
import { figure, p50, type Row, times } from "../row.ts";
import { newSession } from "../service.ts";
import { summarise, timedEach } from "../statistics.ts";

const ROUNDS = 40;
const CALLS = 50;
const WITHOUT = {
  KERNELYARD_METRICS_PORT: "0",
  KERNELYARD_CONSOLE_PORT: "0",
  KERNELYARD_AUDIT_DAYS: "0",
  KERNELYARD_SLEEP_AFTER_MS: "0",
};

export const operations: Row = {
  name: "operations",
  title: "metrics, console and audit log",
  async measure(lab) {
    const port = String(await freePort());
    const key = randomBytes(24).toString("base64url");
    const env = {
      KERNELYARD_OPERATOR_KEY: key,
      KERNELYARD_CONSOLE_PORT: port,
      KERNELYARD_SLEEP_AFTER_MS: "0",
    };
    return lab.own("ready", env, (all) =>
      lab.own("ready", WITHOUT, async (none) => {
        const sides = [all, none].map((service) => ({
          service,
          session: newSession(),
          samples: [] as number[],
        }));
        const call = ({ service, session }: (typeof sides)[number]) =>
          service.run(session, "print(1+1)", "2\n");
        for (let n = 0; n < lab.count(100, 2); n += 1) for (const side of sides) await call(side);
        for (let round = 0; round < lab.count(ROUNDS); round += 1)
          // Whoever comes second finds the other's programs in the CPU's caches: each as often as the other.
          for (const side of round % 2 === 0 ? sides : sides.toReversed())
            side.samples.push(...(await timedEach(lab.count(CALLS, 2), () => call(side))));
        for (const { service, session } of sides) await service.forget(session);
        const [on = [], off = []] = sides.map(({ samples }) => samples);
        const [with_, without] = [summarise(on).p50, summarise(off).p50];
        return [
          figure("warm call with all of it, by one without", with_ / without, "×", {
            count: on.length,
            goal: { atMost: 1.03 },
          }),
          p50("with all of it, p50", on, { ratio: times(with_, "without", without) }),
          p50("without, p50", off),
        ];
      }),
    );
  },
  because: (of) =>
    `a call without any of it takes ${of("without, p50")} here; its entry of the audit log and its metrics are written after each answer, on the same CPUs`,
};
