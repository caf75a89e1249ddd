/** Why sandboxes are not made from checkpoints on a host, decided before anything is made: the engine refuses whatever it is asked. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { CHECKPOINT_RUNTIME_NAME, RUNTIME_ARGUMENTS } from "../../../../gateway/host/isolation.ts";
import { Checkpoints } from "../../../../gateway/launcher/checkpoints/checkpoints.ts";
import { CheckpointNotes } from "../../../../gateway/launcher/checkpoints/notes.ts";
import { CheckpointStore } from "../../../../gateway/launcher/checkpoints/store.ts";
import type { LauncherContext } from "../../../../gateway/launcher/context.ts";
import type { EngineVersion } from "../../../../gateway/launcher/engine/engine.ts";
import { contextOf } from "../context.ts";
import { strictEngine } from "../engine-side.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const ENGINE: EngineVersion = {
  version: "20.10",
  runtimes: {
    [CHECKPOINT_RUNTIME_NAME]: { path: "/usr/local/bin/x", runtimeArgs: [...RUNTIME_ARGUMENTS] },
  },
};

const root = mkdtempSync(join(tmpdir(), "checkpoints-"));
afterAll(() => rmSync(root, { recursive: true }));

let store: CheckpointStore;
beforeEach(async () => {
  store = await CheckpointStore.open(mkdtempSync(join(root, "s-")));
});

function checkpointsOf(change: Partial<LauncherContext["settings"]> = {}): Checkpoints {
  const context = contextOf(strictEngine({}));
  const settings = { ...context.settings, ...change };
  return new Checkpoints(
    { ...context, settings },
    store,
    new Set(),
    new CheckpointNotes(join(root, "notes")),
  );
}

test("a launcher that stops leaves no container of a template, not even one that the engine was just making", async () => {
  const stopping = new AbortController();
  const made = Promise.withResolvers<string>();
  const asked = Promise.withResolvers<void>();
  const removed: string[] = [];
  const engine = strictEngine({
    createContainer: () => {
      asked.resolve();
      return made.promise;
    },
    removeContainer: async (id) => void removed.push(id),
  });
  const context = { ...contextOf(engine), stopping: stopping.signal };
  const settings = { ...context.settings, memoryBytes: 1 };
  const checkpoints = new Checkpoints(
    { ...context, settings },
    store,
    new Set(),
    new CheckpointNotes(join(root, "notes")),
  );
  checkpoints.decide(ENGINE);
  void checkpoints.prepare([IMAGE]);
  await asked.promise;
  stopping.abort();
  made.resolve("c".repeat(64));
  await checkpoints.atRest();
  expect(removed).toEqual(["c".repeat(64)]);
  await checkpoints.prepare([IMAGE]);
  expect(removed).toHaveLength(1);
});

describe("checkpoints are off", () => {
  test.each<[string, Partial<LauncherContext["settings"]>, EngineVersion, string]>([
    ["where they are not wanted", { checkpoints: "off" }, ENGINE, "KERNELYARD_CHECKPOINTS=off"],
    ["without gVisor", { isolation: "runc-unsafe" }, ENGINE, "only gVisor"],
    ["without their runtime", {}, { ...ENGINE, runtimes: {} }, "no runtime `runsc-checkpoint`"],
    [
      "under a runtime with other arguments",
      {},
      { ...ENGINE, runtimes: { [CHECKPOINT_RUNTIME_NAME]: { path: "/x" } } },
      "runs without",
    ],
  ])("%s, and that is said", (_where, settings, engine, why) => {
    const checkpoints = checkpointsOf(settings);
    checkpoints.decide(engine);
    expect(checkpoints.health()).toMatchObject({ state: "off", reason: expect.stringContaining(why) });
    expect(checkpoints.support).toBeNull();
    expect(checkpoints.template(null, IMAGE)).toBeNull();
  });

  test("on a disk without room for a template beside its reserve: nothing is begun", async () => {
    const checkpoints = checkpointsOf({ memoryBytes: 2 ** 60 });
    checkpoints.decide(ENGINE);
    expect(checkpoints.health()).toMatchObject({ state: "preparing", reason: null });
    await checkpoints.prepare([IMAGE]);
    expect(checkpoints.health()).toMatchObject({
      state: "off",
      reason: "the disk of KERNELYARD_DATA_DIR has no room for templates",
    });
    expect(await store.templates()).toEqual([]);
  });

  test("where a template cannot be made, whatever the engine says", async () => {
    const checkpoints = checkpointsOf({ memoryBytes: 1 });
    checkpoints.decide(ENGINE);
    await checkpoints.prepare([IMAGE]);
    expect(checkpoints.health()).toMatchObject({
      state: "off",
      reason: expect.stringContaining("a template could not be made or restored"),
    });
    expect(checkpoints.health().failed).toBe(0);
  });
});
