/** Sessions that are asked to fall asleep too late: an engine that is not to be asked, a supervisor that is not either. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { CHECKPOINT_RUNTIME_NAME, RUNTIME_ARGUMENTS } from "../../../gateway/host/isolation.ts";
import { Checkpoints } from "../../../gateway/launcher/checkpoints/checkpoints.ts";
import { keyOf } from "../../../gateway/launcher/checkpoints/parts.ts";
import { CheckpointStore } from "../../../gateway/launcher/checkpoints/store.ts";
import { SandboxArrivals } from "../../../gateway/launcher/sandbox/arrivals.ts";
import { SandboxEnds } from "../../../gateway/launcher/sandbox/ends.ts";
import { SandboxRegister } from "../../../gateway/launcher/sandbox/register.ts";
import { SandboxSaving } from "../../../gateway/launcher/sandbox/saving.ts";
import { contextOf } from "./context.ts";
import { answerHello, attachFrame, strictEngine } from "./engine-side.ts";

const IMAGE = `sha256:${"1".repeat(64)}`;
const SANDBOX = "abcdefghijklmnopqrstu";

const directory = mkdtempSync(join(tmpdir(), "saving-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("a session whose turn to be saved comes too late is left as it is: whoever stops ends it", async () => {
  const [near, supervisor] = duplexPair();
  const context = contextOf(strictEngine({ attach: async () => near, pid: async () => null }));
  const store = await CheckpointStore.open(directory);
  const checkpoints = new Checkpoints(context, store, new Set());
  checkpoints.decide({
    version: "20.10",
    runtimes: { [CHECKPOINT_RUNTIME_NAME]: { path: "/x", runtimeArgs: [...RUNTIME_ARGUMENTS] } },
  });
  const register = new SandboxRegister(context.now);
  const ends = new SandboxEnds(context, register, store.ledger, () => {});
  const session = { kind: "named", tenant: "default", name: "late" } as const;
  const parts = checkpoints.parts(session, IMAGE);
  const adopted = new SandboxArrivals(context, register, ends, checkpoints).adopt({
    sandboxId: SANDBOX,
    containerId: "c".repeat(64),
    imageId: IMAGE,
    kind: "session",
    profile: "default",
    session,
    owner: null,
    createdAt: context.now(),
    checkpointKey: parts === null ? null : keyOf(parts),
  });
  supervisor.write(attachFrame(await answerHello(supervisor)));
  await adopted;
  const sandbox = register.get(SANDBOX);
  if (sandbox === undefined) throw new Error("it was not taken over");
  const saving = new SandboxSaving(context, checkpoints, ends);
  await expect(saving.sleep(sandbox, performance.now() - 1)).rejects.toMatchObject({ code: "cannot_sleep" });
  expect(sandbox.phase).toBe("running");
});
