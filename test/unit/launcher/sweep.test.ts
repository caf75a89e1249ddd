/** The sweep asks the engine for little: containers each time, volumes now and then; an engine that is slow with those is not away. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Checkpoints } from "../../../gateway/launcher/checkpoints/checkpoints.ts";
import { CheckpointStore } from "../../../gateway/launcher/checkpoints/store.ts";
import { type Engine, EngineAwayError } from "../../../gateway/launcher/engine/engine.ts";
import { Sweep } from "../../../gateway/launcher/reconcile/carry-out.ts";
import { SandboxArrivals } from "../../../gateway/launcher/sandbox/arrivals.ts";
import { SandboxEnds } from "../../../gateway/launcher/sandbox/ends.ts";
import { SandboxRegister } from "../../../gateway/launcher/sandbox/register.ts";
import { SandboxSaving } from "../../../gateway/launcher/sandbox/saving.ts";
import { contextOf } from "./context.ts";
import { strictEngine } from "./engine-side.ts";

const MONTH_MS = 30 * 86_400_000;
const directory = mkdtempSync(join(tmpdir(), "sweep-"));
const store = await CheckpointStore.open(directory);
afterAll(() => rmSync(directory, { recursive: true }));

function sweepOf(stubs: Partial<Engine>) {
  const made = contextOf(strictEngine(stubs));
  const context = { ...made, settings: { ...made.settings, sessionVolumeTtlMs: MONTH_MS } };
  const register = new SandboxRegister(context.now);
  const ends = new SandboxEnds(context, register, store.ledger, () => {});
  const checkpoints = new Checkpoints(context, store, new Set());
  const hangs: EngineAwayError[] = [];
  const sweep = new Sweep({
    context,
    register,
    arrivals: new SandboxArrivals(context, register, ends, checkpoints),
    saving: new SandboxSaving(context, checkpoints, ends),
    ends,
    checkpoints: store,
    reserved: new Set(),
    engineHangs: (error) => hangs.push(error),
  });
  return { sweep, hangs };
}

test("containers are asked for by every sweep, volumes by the first of many", async () => {
  const asked = { containers: 0, volumes: 0 };
  const { sweep } = sweepOf({
    listContainers: async () => {
      asked.containers += 1;
      return [];
    },
    listVolumes: async () => {
      asked.volumes += 1;
      return [];
    },
  });
  for (let i = 0; i < 20; i += 1) await sweep.run();
  expect(asked).toEqual({ containers: 20, volumes: 1 });
});

test("an engine that does not list volumes in time is not taken for one that hangs, and is not asked again at once", async () => {
  let asked = 0;
  const { sweep, hangs } = sweepOf({
    listContainers: async () => [],
    listVolumes: async () => {
      asked += 1;
      throw new EngineAwayError("list volumes: no answer in 5000 ms");
    },
  });
  for (let i = 0; i < 3; i += 1) await sweep.run();
  expect({ asked, hangs }).toEqual({ asked: 1, hangs: [] });
});

test("one that does not list containers hangs", async () => {
  const { sweep, hangs } = sweepOf({
    listContainers: () => Promise.reject(new EngineAwayError("list containers: no answer in 5000 ms")),
  });
  await sweep.run();
  expect(hangs).toHaveLength(1);
});
