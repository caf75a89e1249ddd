/** Many conversations on a small host: all of them have their variables, few of them are awake. */
import { readFileSync } from "node:fs";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { sandboxBytes } from "../../../gateway/launcher/spec/capacity.ts";
import type { Client } from "../client.ts";
import { figure, type Row } from "../row.ts";
import { newSession, type Service } from "../service.ts";
import { timed } from "../statistics.ts";

/** `KERNELYARD_BENCH_CONVERSATIONS=1000` needs 170 GB of disk and an hour. */
const CONVERSATIONS = Number(process.env.KERNELYARD_BENCH_CONVERSATIONS ?? 120);
const IN_TURN = 100;
const GOAL = 1000;
/** Calls at the same time, of different conversations. */
const AT_ONCE = 4;
const PLACES = 20;
const MIB = 1024 * 1024;
const ENV = { KERNELYARD_POOL_SIZE: "0", KERNELYARD_SLEEP_DISK: "1000g" };
/** What a sandbox of the default size takes of the budget. */
const PLACE_BYTES = sandboxBytes(readSettings({}).memoryBytes);

/** In MiB. */
function residentOf(service: Service): number {
  return [service.stack.gatewayPid, service.stack.launcherPid]
    .map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024)
    .reduce((sum, each) => sum + each, 0);
}

async function inTurn(
  clients: readonly Client[],
  count: number,
  call: (client: Client, n: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const caller = async (client: Client) => {
    while (next < count) {
      const n = next;
      next += 1;
      await call(client, n);
    }
  };
  await Promise.all(clients.map(caller));
}

export const density: Row = {
  name: "density",
  title: "conversations that a host keeps with their variables",
  async measure(lab) {
    const places = lab.trial ? 2 : PLACES;
    const conversations = lab.count(CONVERSATIONS, 4);
    const env = { ...ENV, KERNELYARD_MEMORY_BUDGET: String(places * PLACE_BYTES) };
    return lab.own("ready", env, async (service) => {
      const sessions = Array.from({ length: conversations }, newSession);
      const clients = Array.from({ length: AT_ONCE }, () => service.connect());
      const run = (client: Client, n: number, code: string, stdout: string) =>
        client.output("/run", { session_id: sessions[n], code }, stdout);
      const before = residentOf(service);
      await inTurn(clients, conversations, (client, n) => run(client, n, `x = ${n}\nprint(x)`, `${n}\n`));
      const first = Math.min(IN_TURN, conversations);
      const took = await timed(() =>
        inTurn(clients, first, (client, n) => run(client, n, "x += 1\nprint(x)", `${n + 1}\n`)),
      );
      // All that are kept, also those that have slept all the while.
      await inTurn(clients, conversations, (client, n) =>
        run(client, n, "print(x)", `${n < first ? n + 1 : n}\n`),
      );
      const asleep = await service.sleeping();
      const grown = residentOf(service) - before;
      const { disk } = await service.health();
      for (const client of clients) client.close();
      const each = asleep.bytes / Math.max(1, asleep.sessions);
      const room = ((disk?.free_bytes ?? 0) - (disk?.reserve_bytes ?? 0)) / each + conversations;
      return [
        figure("that this machine's disk takes, by those of the run", Math.floor(room), "sessions", {
          goal: { atLeast: GOAL },
        }),
        figure(`${first} awake in turn, ${AT_ONCE} callers in ${places} places`, took / 1000, "s", {
          count: first,
          goal: { atMost: 60 },
        }),
        figure("kept in this run, every variable there", conversations, "sessions"),
        figure("disk per sleeping session", each / MIB, "MiB", { count: asleep.sessions }),
        figure(`disk for ${GOAL} asleep`, (each * GOAL) / 1e9, "GB"),
        figure("memory of gateway and launcher per conversation", grown / conversations, "MiB"),
      ];
    });
  },
  because: (of) =>
    `a session asleep takes ${of("disk per sleeping session")} of disk and no memory of its own, so ${GOAL} need ${of(`disk for ${GOAL} asleep`)} free; each wake on a full host waits until another session is saved`,
};
