/** Sessions that sleep and wake again and again, and a launcher that dies meanwhile: no mix-up, no leak, no silent loss. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Sandbox } from "../../../gateway/common/protocol/launcher-api.ts";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { LauncherProcess, namedSession, type Stream } from "../launcher/client.ts";
import { allContainersOf, checkpointsAreOn, loopsUnder } from "../launcher/host.ts";

const SESSIONS = LONG_FORM ? 50 : 3;
const CYCLES = LONG_FORM ? 500 : 6;
const KILLS = LONG_FORM ? 60 : 4;
/** Saving and waking each take about as long. */
const MOMENT_MS = 800;

const random = seeded(13);
const launcher = new LauncherProcess({ KERNELYARD_CHECKPOINTS: "auto" });
const containers = new Set<string>();

interface Conversation {
  readonly n: number;
  readonly spec: ReturnType<typeof namedSession>;
  /** Calls since its variables were new. */
  calls: number;
}

const BEGIN = (n: number) => `
import threading
n, calls, gate, told = ${n}, 1, threading.Event(), []
thread = threading.Thread(target=lambda: (gate.wait(), told.append(n)), daemon=True)
thread.start()
open("kept", "w").write("kept ${n}")`;
const GO_ON = `
if "n" in globals():
    calls += 1
    gate.set(); thread.join(10)
    print("n", n, "calls", calls, "thread", told == [n], open("kept").read())
    gate, told = threading.Event(), []
    thread = threading.Thread(target=lambda: (gate.wait(), told.append(n)), daemon=True)
    thread.start()
else:
    print("lost", open("kept").read())`;

beforeAll(async () => {
  await launcher.start();
  await checkpointsAreOn(launcher);
}, 120_000);
afterAll(() => launcher[Symbol.asyncDispose](), 120_000);

/** Its sandbox, new or there already; `lost`: why its variables are gone. */
async function open(conversation: Conversation): Promise<{ stream: Stream; made: Sandbox }> {
  const answer = await launcher.call("POST", "/sandboxes", conversation.spec);
  let made = Sandbox.safeParse(answer.body).data;
  if (answer.status !== 201) {
    const found = (await launcher.list()).find(({ session }) => sameAs(session, conversation.spec.session));
    if (answer.status !== 409 || found === undefined)
      throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
    made = found;
  }
  if (made === undefined) throw new Error(`no sandbox: ${JSON.stringify(answer.body)}`);
  containers.add(made.container_id);
  return { stream: await launcher.converse(made.id), made };
}

const sameAs = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

async function say(stream: Stream, code: string): Promise<string> {
  stream.stdout = "";
  await stream.execute(code);
  return stream.stdout.trimEnd();
}

async function begin(conversation: Conversation): Promise<void> {
  const { stream, made } = await open(conversation);
  await say(stream, BEGIN(conversation.n));
  conversation.calls = 1;
  await sleep(made.id, stream);
}

async function sleep(id: string, stream: Stream): Promise<void> {
  stream.close();
  expect(await launcher.call("POST", `/sandboxes/${id}/sleep`)).toEqual({
    status: 200,
    body: { state: "asleep" },
  });
}

/** Its own variables are there, all of them; or it is told that they are not. Its files are there in any case. */
async function goOn(conversation: Conversation, mayBeLost: boolean): Promise<void> {
  const { n } = conversation;
  const { stream, made } = await open(conversation);
  const said = await say(stream, GO_ON);
  if (said.startsWith("lost")) {
    expect({ said, mayBeLost, lost: made.lost }).toEqual({
      said: `lost kept ${n}`,
      mayBeLost: true,
      lost: expect.stringMatching(/./),
    });
    await say(stream, BEGIN(n));
    conversation.calls = 1;
  } else {
    conversation.calls += 1;
    expect(said).toBe(`n ${n} calls ${conversation.calls} thread True kept ${n}`);
    expect(made.lost).toBeNull();
  }
  await sleep(made.id, stream);
}

const conversations: Conversation[] = Array.from({ length: SESSIONS }, (_, n) => ({
  n,
  spec: namedSession(),
  calls: 0,
}));
const one = (): Conversation => {
  const conversation = conversations[Math.floor(random() * SESSIONS)];
  if (conversation === undefined) throw new Error("no conversation");
  return conversation;
};

/** A sweep may have to come by first. */
async function nothingIsLeft(): Promise<void> {
  const ofOurs = (text: string) => [...containers].some((id) => text.includes(id));
  const processes = () =>
    readdirSync("/proc").filter((pid) => {
      try {
        return /^\d+$/.test(pid) && ofOurs(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
      } catch {
        return false;
      }
    });
  const groups = () => readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter(ofOurs);
  const unfinished = () =>
    ["saving", "waking"].flatMap((part) => readdirSync(join(launcher.dataDir, "checkpoints", part)));
  await expect
    .poll(
      async () => ({
        containers: await allContainersOf(launcher.dataDir),
        processes: processes(),
        groups: groups(),
        unfinished: unfinished(),
        loops: loopsUnder(launcher.dataDir),
      }),
      { timeout: 30_000, interval: 500 },
    )
    .toEqual({ containers: [], processes: [], groups: [], unfinished: [], loops: [] });
}

it(`${CYCLES} times over ${SESSIONS} sessions`, {
  timeout: 120_000 + (CYCLES + SESSIONS) * 20_000,
}, async () => {
  for (const conversation of conversations) await begin(conversation);
  expect((await launcher.health()).checkpoints).toMatchObject({ sleeping: SESSIONS, failed: 0 });
  for (let cycle = 0; cycle < CYCLES; cycle++) await goOn(one(), false);
  expect((await launcher.health()).checkpoints).toMatchObject({ sleeping: SESSIONS, failed: 0 });
  await nothingIsLeft();
});

it(`kill -9 of the launcher at ${KILLS} moments of saving and waking`, {
  timeout: KILLS * 60_000,
}, async () => {
  for (let kill = 0; kill < KILLS; kill++) {
    const conversation = one();
    const broken = () => null;
    if (kill % 2 === 0) {
      void launcher.call("POST", "/sandboxes", conversation.spec).catch(broken);
    } else {
      const { stream, made } = await open(conversation);
      if ((await say(stream, GO_ON)).startsWith("n ")) conversation.calls += 1;
      stream.close();
      void launcher.call("POST", `/sandboxes/${made.id}/sleep`).catch(broken);
    }
    await delay(random() * MOMENT_MS);
    await launcher.end("SIGKILL");
    await launcher.start();
    await checkpointsAreOn(launcher);
    await goOn(conversation, true);
  }
  for (const conversation of conversations) await goOn(conversation, false);
  await nothingIsLeft();
});
