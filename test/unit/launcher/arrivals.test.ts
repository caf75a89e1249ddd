/** Sandboxes whose start and end cross, with an engine of the test's own: strict, and at its edge a real stream. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, duplexPair } from "node:stream";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Checkpoints } from "../../../gateway/launcher/checkpoints/checkpoints.ts";
import { CheckpointStore } from "../../../gateway/launcher/checkpoints/store.ts";
import { type Engine, EngineAwayError } from "../../../gateway/launcher/engine/engine.ts";
import { SandboxArrivals } from "../../../gateway/launcher/sandbox/arrivals.ts";
import { SandboxEnds } from "../../../gateway/launcher/sandbox/ends.ts";
import { SandboxRegister } from "../../../gateway/launcher/sandbox/register.ts";
import { contextOf } from "./context.ts";
import { answerHello, attachFrame, strictEngine } from "./engine-side.ts";

const CONTAINER = "c".repeat(64);
const FOUND = {
  sandboxId: "abcdefghijklmnopqrstu",
  containerId: CONTAINER,
  imageId: `sha256:${"1".repeat(64)}`,
  kind: "fresh",
  profile: "default",
  session: null,
  owner: null,
  createdAt: Date.UTC(2026, 0, 2),
  checkpointKey: null,
} as const;

function launcherOf(stubs: Partial<Engine>) {
  const context = contextOf(strictEngine(stubs));
  const register = new SandboxRegister(context.now);
  const ends = new SandboxEnds(context, register, store.ledger, () => {});
  const checkpoints = new Checkpoints(context, store, new Set());
  return { register, ends, arrivals: new SandboxArrivals(context, register, ends, checkpoints) };
}

const directory = mkdtempSync(join(tmpdir(), "arrivals-"));
const store = await CheckpointStore.open(directory);
afterAll(() => rmSync(directory, { recursive: true }));

let near: Duplex;
let supervisor: Duplex;
beforeEach(() => {
  [near, supervisor] = duplexPair();
});

describe("a container that is taken over", () => {
  test("serves when its supervisor answers", async () => {
    const { arrivals, register } = launcherOf({
      attach: async () => near,
      pid: async () => null,
    });
    const adopted = arrivals.adopt(FOUND);
    supervisor.write(attachFrame(await answerHello(supervisor)));
    await adopted;
    expect(register.get(FOUND.sandboxId)).toMatchObject({ phase: "running", used: true });
  });

  test("is ended when what follows its answer is no frame", async () => {
    const removed: string[] = [];
    const { arrivals, register } = launcherOf({
      attach: async () => near,
      pid: async () => null,
      removeContainer: async (id) => void removed.push(id),
    });
    const adopted = arrivals.adopt(FOUND);
    const lie = Buffer.alloc(8, 0xff);
    supervisor.write(attachFrame(Buffer.concat([await answerHello(supervisor), lie])));
    await adopted;
    expect(removed).toContain(CONTAINER);
    expect(register.get(FOUND.sandboxId)).toBeUndefined();
    expect(register.remembered(FOUND.sandboxId)?.ended).toMatchObject({ reason: "protocol_error" });
  });

  test("does not serve again when its end began before it answered", async () => {
    const removal = Promise.withResolvers<void>();
    const { arrivals, ends, register } = launcherOf({
      attach: async () => near,
      pid: async () => null,
      removeContainer: () => removal.promise,
    });
    const adopted = arrivals.adopt(FOUND);
    const reply = await answerHello(supervisor);
    const sandbox = register.get(FOUND.sandboxId);
    if (sandbox === undefined) throw new Error("it is not registered");
    const ended = ends.end(sandbox, "killed");
    supervisor.write(attachFrame(reply));
    await sandbox.started;
    expect([sandbox.phase, sandbox.serving]).toEqual(["ending", null]);
    removal.resolve();
    await Promise.all([adopted, ended]);
    expect(register.remembered(FOUND.sandboxId)?.ended).toMatchObject({ reason: "killed" });
  });
});

test("a sandbox that the engine does not remove, though asked twice at once, is the sweep's again", async () => {
  const { arrivals, ends, register } = launcherOf({
    attach: async () => near,
    pid: async () => null,
    removeContainer: () => Promise.reject(new EngineAwayError("it hangs")),
  });
  const adopted = arrivals.adopt(FOUND);
  supervisor.write(attachFrame(await answerHello(supervisor)));
  await adopted;
  const sandbox = register.get(FOUND.sandboxId);
  if (sandbox === undefined) throw new Error("it is not registered");
  const asked = await Promise.allSettled([ends.end(sandbox, "killed"), ends.end(sandbox, "killed")]);
  expect(asked.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect([sandbox.phase, sandbox.condemned]).toEqual(["running", true]);
});

test("a container that could neither be taken over nor removed is taken over the next time", async () => {
  const answers = [() => Promise.reject(new EngineAwayError("it hangs")), async () => near];
  const { arrivals, register } = launcherOf({
    attach: async () => answers.shift()?.() ?? near,
    pid: async () => null,
    removeContainer: () => Promise.reject(new EngineAwayError("it hangs")),
  });
  await expect(arrivals.adopt(FOUND)).rejects.toThrow("it hangs");
  const sandbox = register.get(FOUND.sandboxId);
  expect(sandbox).toMatchObject({ phase: "lost", condemned: false });
  const readopted = arrivals.readopt(FOUND.sandboxId);
  supervisor.write(attachFrame(await answerHello(supervisor)));
  await readopted;
  expect(sandbox).toMatchObject({ phase: "running", cause: null });
});

test("a container that ended and is still there keeps its memory and its session until it is gone", async () => {
  const answers = [() => Promise.reject(new EngineAwayError("it hangs"))];
  const { arrivals, ends, register } = launcherOf({
    attach: async () => near,
    pid: async () => null,
    removeContainer: () => answers.shift()?.() ?? Promise.resolve(),
  });
  const adopted = arrivals.adopt(FOUND);
  supervisor.write(attachFrame(await answerHello(supervisor)));
  await adopted;
  const sandbox = register.get(FOUND.sandboxId);
  if (sandbox === undefined) throw new Error("it is not registered");
  ends.vanished(sandbox);
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect([sandbox.phase, register.size]).toEqual(["ended", 1]);
  await sandbox.gone;
  expect(register.size).toBe(0);
});
