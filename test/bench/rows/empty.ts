/** Nobody is ready: a sandbox is made while the caller waits. */
import { longest, p50, type Row, times } from "../row.ts";
import { newSession, type Service } from "../service.ts";
import { summarise, timed, timedEach } from "../statistics.ts";
import { dockerRun, emptyContainer } from "../yardsticks/docker-command.ts";
import { LIBRARIES, PRINTED } from "./fresh.ts";

const CALLS = 10;
const COLD_CALLS = 5;
const TOGETHER = 4;
const BURSTS = 5;
const NO_POOL = { KERNELYARD_POOL_SIZE: "0", KERNELYARD_SLEEP_AFTER_MS: "0" };

/** A session that is gone when it was measured: places stay free. */
async function first(service: Service): Promise<number> {
  const session = newSession();
  const ms = await timed(() => service.run(session, "print(1+1)", "2\n"));
  await service.forget(session);
  return ms;
}

async function firsts(service: Service, count: number): Promise<number[]> {
  const samples: number[] = [];
  for (let n = 0; n < count; n += 1) samples.push(await first(service));
  return samples;
}

async function fourAtOnce(service: Service, bursts: number): Promise<number[]> {
  const samples: number[] = [];
  for (let burst = 0; burst < bursts; burst += 1) {
    const sessions = Array.from({ length: TOGETHER }, newSession);
    const clients = sessions.map(() => service.connect());
    const calls = clients.map((client, n) =>
      timed(() => client.output("/run", { session_id: sessions[n], code: "print(1+1)" }, "2\n")),
    );
    samples.push(...(await Promise.all(calls)));
    for (const client of clients) client.close();
    for (const session of sessions) await service.forget(session);
  }
  return samples;
}

export const empty: Row = {
  name: "empty",
  title: "pool empty: fresh call, or a session's first",
  async measure(lab) {
    const ours = await lab.own("ready", NO_POOL, async (service) => ({
      fresh: await timedEach(lab.count(CALLS), () => service.fresh(LIBRARIES, PRINTED)),
      first: await firsts(service, lab.count(CALLS)),
      four: await fourAtOnce(service, lab.count(BURSTS)),
    }));
    const cold = await lab.own("off", NO_POOL, (service) => firsts(service, lab.count(COLD_CALLS)));
    const imports = await timedEach(lab.count(COLD_CALLS), () =>
      dockerRun(["python3.11", "-c", LIBRARIES], PRINTED),
    );
    const nothing = await timedEach(lab.count(COLD_CALLS), emptyContainer);
    const start = summarise(cold).p50;
    return [
      p50("fresh call, p50", ours.fresh, {
        ratio: times(summarise(ours.fresh).p50, "cold start", start),
        goal: { atMost: 450 },
      }),
      p50("a session's first, p50", ours.first, {
        ratio: times(summarise(ours.first).p50, "cold start", start),
        goal: { atMost: 450 },
      }),
      longest("four at once, the longest", ours.four, {
        ratio: times(Math.max(...ours.four), "cold start", start),
        goal: { atMost: 1200 },
      }),
      p50("four at once, p50", ours.four),
      p50("cold start (checkpoints off), p50", cold),
      p50("docker run with the imports, p50", imports),
      p50("docker run of an empty container, p50", nothing),
    ];
  },
  because: (of) =>
    `an empty gVisor container takes ${of("docker run of an empty container, p50")} here to start and end; a cold start ${of("cold start (checkpoints off), p50")}`,
};
