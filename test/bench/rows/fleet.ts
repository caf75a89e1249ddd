/**
 * `npm run bench -- fleet`: what a session's call costs at its own host and by way of another one, beside the same call where there is no
 * fleet; how long a lost host costs its sessions; how long a host takes to give its sessions away. Real sandboxes, a real engine and a real
 * S3 server, all on this machine.
 */
import { LEASE_MS } from "../../../gateway/server/fleet/lease.ts";
import { startS3, TEST_CREDENTIALS } from "../../integration/files/s3-server.ts";
import { drainHost, loseHost, startFleetHost } from "../../support/fleet/hosts-here.ts";
import { freePort } from "../../support/free-port.ts";
import { RedisServer } from "../../support/redis/redis-server.ts";
import { type Stack, startStack } from "../../support/stack.ts";
import { Client } from "../client.ts";
import { type Figure, figure, p50, type Row, times } from "../row.ts";
import { summarise, timed, timedEach } from "../statistics.ts";
import { BareHop } from "../yardsticks/bare-hop.ts";

const ROUNDS = 20;
const CALLS_PER_ROUND = 50;
const TAKEOVERS = 3;
const DRAINED_SESSIONS = Number(process.env.KERNELYARD_BENCH_SESSIONS ?? 20);
const DRAINED_MIB = Number(process.env.KERNELYARD_BENCH_MIB ?? 50);
/** Sandboxes of all hosts fit, and no session sleeps while it is measured. */
const ENV = { KERNELYARD_POOL_SIZE: "0", KERNELYARD_RATE_LIMITS: "off", KERNELYARD_SLEEP_AFTER_MS: "0" };
const SAVED_WITHIN_MS = 60_000;
const IDLE = "HTTP request that runs nothing, p50";
const BARE = "a bare hop: the call by way of a server that passes it on and does nothing else";
/** The bucket has the session's files, and the directory knows where. */
const SAVED = /^kernelyard_fleet_workspaces_total\{outcome="saved"\} 1$/m;

async function measure(): Promise<Figure[]> {
  const engine = await RedisServer.start();
  const s3 = await startS3();
  const alone = await startStack({ env: ENV });
  const hosts: Stack[] = [];
  try {
    const place = {
      name: await s3.makeBucket(),
      endpoint: s3.endpoint,
      credentials: TEST_CREDENTIALS,
    };
    const join = async (env: Record<string, string> = {}): Promise<Stack> => {
      const host = await startFleetHost(engine, place, { ...ENV, ...env });
      hosts.push(host);
      return host;
    };
    const calls = await hop(alone, await join(), await join());
    return [...calls, await takeovers(hosts, join), await drain(join)];
  } finally {
    for (const host of hosts) await host.stop().catch(() => {});
    await alone.stop();
    await s3.stop();
    await engine.dispose();
  }
}

export const fleet: Row = {
  name: "fleet",
  title: "several hosts",
  measure,
  because: (of) =>
    `a hop is one more request between two processes: ${of(BARE)} here where a call goes through a server that does nothing but pass it on, without TLS; what is above that is done twice, at both hosts, which know each other by TLS and signature. A request over HTTP that runs nothing takes ${of(IDLE)}. A lost host's lease is ${LEASE_MS / 1000} s; the rest of a takeover is a cold start and its files`,
};

async function hop(alone: Stack, home: Stack, other: Stack): Promise<Figure[]> {
  const call = { session_id: "bench-hop", code: "print(1+1)" };
  // The engine's volumes are named by their sessions, whoever's they are.
  const callAlone = { ...call, session_id: "bench-alone" };
  await using bare = await BareHop.to(home.baseUrl);
  const { apiKey } = home;
  const rows = [
    { name: "session call, no fleet", client: new Client(alone), call: callAlone, samples: [] as number[] },
    { name: "session call at its own host", client: new Client(home), call, samples: [] as number[] },
    { name: "session call by way of another host", client: new Client(other), call, samples: [] as number[] },
  ];
  const passed = { client: new Client({ baseUrl: bare.baseUrl, apiKey }), call, samples: [] as number[] };
  const all = [...rows, passed];
  for (const { call: one, client } of all)
    for (let n = 0; n < 20; n += 1) await client.output("/run", one, "2\n");
  // Alternating rounds: what the machine does besides hits all alike.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { call: one, client, samples } of all) {
      samples.push(...(await timedEach(CALLS_PER_ROUND, () => client.output("/run", one, "2\n"))));
    }
  }
  const idle = await timedEach(CALLS_PER_ROUND, () => refused(rows[1]?.client));
  for (const { client } of all) client.close();
  const [without = Number.NaN, own = Number.NaN, via = Number.NaN] = rows.map(
    ({ samples }) => summarise(samples).p50,
  );
  return [
    ...rows.map(({ name, samples }) =>
      p50(`${name}, p50`, samples, { ratio: times(summarise(samples).p50, "no fleet", without) }),
    ),
    figure("the hop", via - own, "ms", { goal: { atMost: 0.8 } }),
    p50(IDLE, idle),
    figure(BARE, summarise(passed.samples).p50 - own, "ms", { count: ROUNDS * CALLS_PER_ROUND }),
  ];
}

async function refused(client: Client | undefined): Promise<void> {
  const answer = await client?.post("/run", {});
  if (answer?.status !== 400) throw new Error(`a call without a session was answered ${answer?.status}`);
}

async function takeovers(
  hosts: Stack[],
  join: (env?: Record<string, string>) => Promise<Stack>,
): Promise<Figure> {
  const seconds: number[] = [];
  for (let n = 0; n < TAKEOVERS; n += 1) {
    const metrics = await freePort();
    const [home, other] = [await join({ KERNELYARD_METRICS_PORT: String(metrics) }), hosts[1]];
    if (other === undefined) throw new Error("no other host");
    const session_id = `bench-takeover-${n}`;
    const at = new Client(home);
    const elsewhere = new Client(other);
    await at.output("/run", { session_id, code: `open('n', 'w').write('${n}'); print(1)` }, "1\n");
    const until = performance.now() + SAVED_WITHIN_MS;
    while (!SAVED.test(await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text())) {
      if (performance.now() > until) throw new Error("the session's files were not saved");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    at.close();
    await loseHost(home);
    const ms = await timed(() =>
      elsewhere.output("/run", { session_id, code: "print(open('n').read())" }, `${n}\n`),
    );
    elsewhere.close();
    seconds.push(ms / 1000);
  }
  return figure("a lost host's session, files and all, the longest", Math.max(...seconds), "s", {
    count: TAKEOVERS,
    goal: { atMost: 15 },
  });
}

async function drain(join: (env?: Record<string, string>) => Promise<Stack>): Promise<Figure> {
  // All of them fit by count and by the disk that each is promised; what they use is less than half of what they may.
  const home = await join({ KERNELYARD_MEMORY_BUDGET: "128g", KERNELYARD_SESSION_DISK: "128m" });
  const client = new Client(home);
  const code = `import os
with open('data', 'wb') as f:
    for _ in range(${DRAINED_MIB}): f.write(os.urandom(1 << 20))
print(1)`;
  for (let n = 0; n < DRAINED_SESSIONS; n += 1)
    await client.output("/run", { session_id: `bench-drain-${n}`, code }, "1\n");
  client.close();
  const ms = await timed(() => drainHost(home));
  const what = `a host of ${DRAINED_SESSIONS} sessions of ${DRAINED_MIB} MiB is drained`;
  return figure(what, ms / 1000, "s", DRAINED_SESSIONS < 50 ? {} : { goal: { atMost: 60 } });
}
