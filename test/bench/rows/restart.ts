/** A session's kernel is replaced by a new one. */
import { setTimeout as delay } from "node:timers/promises";
import { p50, type Row, times } from "../row.ts";
import { newSession } from "../service.ts";
import { summarise, timed } from "../statistics.ts";

const RESTARTS = 15;
/** Nobody restarts a kernel with each breath: the next fork waits again, and the session has its share again. */
const PAUSE_MS = 2_000;
/** A process with the libraries, as the template is: what the kernel itself costs. */
const FORK = `import os, time
began = time.perf_counter()
child = os.fork()
if child == 0: os._exit(7)
status = os.waitpid(child, 0)[1]
took = (time.perf_counter() - began) * 1000
print(os.waitstatus_to_exitcode(status), took)`;

export const restart: Row = {
  name: "restart",
  title: "kernel restart",
  async measure(lab) {
    const service = await lab.usual();
    const session = newSession();
    const asked: number[] = [];
    const answered: number[] = [];
    const forks: number[] = [];
    const client = service.connect();
    for (let n = 0; n < lab.count(RESTARTS); n += 1) {
      await service.run(session, "x = 1\nprint(x)", "1\n");
      const reply = await client.post("/run", { session_id: session, code: FORK });
      const took = /"7 ([\d.]+)\\n"/.exec(reply.text)?.[1];
      if (took === undefined) throw new Error(`a fork answered ${reply.status} ${reply.text}`);
      forks.push(Number(took));
      await delay(PAUSE_MS);
      const ms = await timed(() => service.restart(session));
      asked.push(ms);
      answered.push(ms + (await timed(() => service.run(session, "print('x' in globals())", "False\n"))));
    }
    client.close();
    await service.forget(session);
    return [
      p50("until the first answer, p50", answered, {
        ratio: times(summarise(answered).p50, "a fork", summarise(forks).p50),
        goal: { atMost: 120 },
      }),
      p50("until the restart is answered, p50", asked),
      p50("fork of a process with the libraries, p50", forks),
    ];
  },
  because: (of) =>
    `a bare fork of a process with the libraries, and its end, take ${of("fork of a process with the libraries, p50")} in a sandbox's share of a CPU`,
};
