/**
 * `npm run bench`: how fast it is, side by side in one run on this machine, as ratios. Every result is checked, so
 * that a call which fails fast is not a fast call. Raw samples go to `test/results/bench.json`. `npm run bench -- bash`: Python in
 * bash alone; `-- fleet`: several hosts.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { type Stack, startStack } from "../support/stack.ts";
import { bashGoals, benchBash } from "./bash.ts";
import { Client } from "./client.ts";
import { benchFleet } from "./fleet.ts";
import { RawKernel } from "./raw-kernel.ts";
import { type Summary, summarise, timed } from "./statistics.ts";

const ROUNDS = 20;
const CALLS_PER_ROUND = 50;
const FRESH_CALLS = 10;
const POOL = 2;
const NEW_SESSIONS = 5;
const ROW = 10;
const TOGETHER = 4;
const SLEEPERS = 5;
const SLEEP_AFTER_MS = 2000;
const DOCKER_EXECS = 20;

const Streams = z.object({ stdout: z.string(), stderr: z.string() });

const clients = new Map<Stack, Client>();

function clientOf(stack: Stack): Client {
  const client = clients.get(stack) ?? new Client(stack);
  clients.set(stack, client);
  return client;
}

const expectOutput = (stack: Stack, path: string, body: object, stdout: string) =>
  clientOf(stack).output(path, body, stdout);

/** Also that nothing is said on standard error. */
async function expectResult(stack: Stack, body: object, stdout: string): Promise<void> {
  const answer = await clientOf(stack).post("/v1/exec", body);
  const result = answer.status === 200 ? Streams.safeParse(JSON.parse(answer.text)) : null;
  if (result?.data?.stdout !== stdout || result.data.stderr !== "") {
    throw new Error(`/v1/exec answered ${answer.status} ${answer.text}`);
  }
}

/** The pool shows only as containers; a new one needs this long to be ready, too. */
const READY_MS = 3000;

async function poolIsFull(stack: Stack): Promise<void> {
  while ((await stack.containers("fresh")).length < POOL) await delay(50);
  await delay(READY_MS);
}

const Health = z.object({
  checkpoints: z.object({ state: z.string(), reason: z.string().nullable(), sleeping: z.number() }),
});

async function checkpoints(stack: Stack): Promise<z.infer<typeof Health>["checkpoints"]> {
  const response = await fetch(`${stack.baseUrl}/health?detail`, { headers: { "x-api-key": stack.apiKey } });
  return Health.parse(await response.json()).checkpoints;
}

/** Their templates are made while the service serves already. */
async function checkpointsAreOn(stack: Stack): Promise<void> {
  for (;;) {
    const { reason, state } = await checkpoints(stack);
    if (state === "on") return;
    if (state === "off") throw new Error(`checkpoints are off on this host: ${reason}`);
    await delay(100);
  }
}

const samples: Record<string, number[]> = {};

/** In a stack of its own: the others' sessions stay awake. */
async function sleepAndWake(name: string): Promise<void> {
  const env = {
    KERNELYARD_CHECKPOINTS: "auto",
    KERNELYARD_SLEEP_AFTER_MS: String(SLEEP_AFTER_MS),
    KERNELYARD_POOL_SIZE: "0",
  };
  const stack = await startStack({ env: { ...env, KERNELYARD_RATE_LIMITS: "off" } });
  try {
    await checkpointsAreOn(stack);
    const session = (i: number) => ({ session_id: `bench-sleeper-${i}` });
    for (let i = 0; i < SLEEPERS; i += 1) {
      await expectOutput(stack, "/run", { ...session(i), code: `x = ${i}\nprint(x)` }, `${i}\n`);
    }
    // All of them: none of those that wake is measured while another one falls asleep.
    while ((await checkpoints(stack)).sleeping < SLEEPERS) await delay(50);
    await measure(name, SLEEPERS, (i) =>
      expectOutput(stack, "/run", { ...session(i), code: "print(x + 1)" }, `${i + 1}\n`),
    );
  } finally {
    await stack.stop();
  }
}

async function measure(name: string, count: number, call: (i: number) => Promise<void>): Promise<void> {
  const list = samples[name] ?? [];
  samples[name] = list;
  for (let i = 0; i < count; i += 1) list.push(await timed(() => call(i)));
}

function row(name: string, summary: Summary, reference: Summary): string {
  const ms = (value: number) => value.toFixed(2).padStart(10);
  return `${name.padEnd(44)}${String(summary.count).padStart(6)}${ms(summary.p50)}${ms(summary.p99)}${(summary.p50 / reference.p50).toFixed(2).padStart(9)}×`;
}

const env = {
  KERNELYARD_CHECKPOINTS: "auto",
  KERNELYARD_RATE_LIMITS: "off",
  KERNELYARD_POOL_SIZE: String(POOL),
};

const measureBash = (stack: Stack) =>
  benchBash({
    exec: (body, expected) => expectResult(stack, body, expected),
    measure,
    poolIsFull: () => poolIsFull(stack),
  });

async function bashAlone(): Promise<void> {
  const stack = await startStack({ env });
  try {
    await checkpointsAreOn(stack);
    await measureBash(stack);
    const rows = Object.entries(samples).map(([name, list]) => {
      const { count, p50, p99 } = summarise(list);
      return `${name.padEnd(44)}${String(count).padStart(6)}${p50.toFixed(2).padStart(10)}${p99.toFixed(2).padStart(10)}`;
    });
    process.stdout.write(`${[...rows, ...bashGoals(samples)].join("\n")}\n`);
  } finally {
    await stack.stop();
    for (const client of clients.values()) client.close();
  }
}

async function main(): Promise<void> {
  const stack = await startStack({ env });
  const raw = await RawKernel.start();
  try {
    const warm = { session_id: "bench", code: "print(1+1)" };
    const names = {
      raw: "raw attach stream + IPython",
      warm: "warm call in a session over HTTP",
      exec: "docker exec python3 per call",
      fresh: "fresh call from the pool, pandas imported",
      first: "first call of a named session",
      together: "  four of them at once, each",
      row: "fresh calls one after the other, pool drained",
      wake: "call of a session that sleeps, variables there",
      cold: "first call of a named session, checkpoints off",
      coldRow: "fresh calls one after the other, checkpoints off",
    };
    await checkpointsAreOn(stack);
    for (let i = 0; i < 20; i += 1) {
      await expectOutput(stack, "/run", warm, "2\n");
      await raw.run("print(1+1)", "2\n");
    }
    // Alternating rounds: what the machine does besides hits both alike.
    for (let round = 0; round < ROUNDS; round += 1) {
      await measure(names.raw, CALLS_PER_ROUND, () => raw.run("print(1+1)", "2\n"));
      await measure(names.warm, CALLS_PER_ROUND, () => expectOutput(stack, "/run", warm, "2\n"));
    }
    await measure(names.exec, DOCKER_EXECS, async () => {
      const output = execFileSync("docker", ["exec", raw.containerId, "python3", "-c", "print(1+1)"]);
      if (output.toString() !== "2\n") throw new Error(`docker exec gave ${output.toString()}`);
    });
    const fresh = { lang: "py", code: "import pandas as pd; print(pd.DataFrame({'a': [1, 2]}).a.sum())" };
    // One at a time with a full pool, as a chat meets it; a burst beyond the pool waits for new sandboxes instead.
    for (let i = 0; i < FRESH_CALLS; i += 1) {
      await poolIsFull(stack);
      await measure(names.fresh, 1, () => expectOutput(stack, "/v1/exec", fresh, "3\n"));
    }
    await measure(names.first, NEW_SESSIONS, (i) =>
      expectOutput(stack, "/run", { session_id: `bench-new-${i}`, code: "print(1+1)" }, "2\n"),
    );

    await measureBash(stack);

    // The engine's volumes are named by their sessions, whoever's they are.
    const first = (to: Stack) => (i: number) =>
      expectOutput(to, "/run", { session_id: `bench-${to.instance}-${i}`, code: "print(1+1)" }, "2\n");
    const freshCall = (to: Stack) => () => expectOutput(to, "/v1/exec", fresh, "3\n");
    for (let i = 0; i < NEW_SESSIONS; i += 1) {
      const four = Array.from({ length: TOGETHER }, (_, j) => timed(() => first(stack)(i * TOGETHER + j)));
      samples[names.together] = [...(samples[names.together] ?? []), ...(await Promise.all(four))];
    }
    await poolIsFull(stack);
    await measure(names.row, ROW, freshCall(stack));
    await sleepAndWake(names.wake);
    const cold = await startStack({ env: { ...env, KERNELYARD_CHECKPOINTS: "off" } });
    try {
      await measure(names.cold, NEW_SESSIONS, first(cold));
      await poolIsFull(cold);
      await measure(names.coldRow, ROW, freshCall(cold));
    } finally {
      await cold.stop();
    }

    const reference = summarise(samples[names.raw] ?? []);
    const lines = [
      `${"".padEnd(44)}${"calls".padStart(6)}${"p50 ms".padStart(10)}${"p99 ms".padStart(10)}${"p50/raw".padStart(10)}`,
    ];
    for (const [name, list] of Object.entries(samples)) lines.push(row(name, summarise(list), reference));
    lines.push(...bashGoals(samples));
    process.stdout.write(`${lines.join("\n")}\n`);
    const results = join(import.meta.dirname, "../results");
    mkdirSync(results, { recursive: true });
    writeFileSync(join(results, "bench.json"), JSON.stringify(samples));
  } finally {
    await raw.stop();
    await stack.stop();
    for (const client of clients.values()) client.close();
  }
}

if (process.argv[2] === "bash") await bashAlone();
else if (process.argv[2] === "fleet") await benchFleet((line) => process.stdout.write(`${line}\n`));
else await main();
