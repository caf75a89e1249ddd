/** Runs the probe in a container that has exactly a sandbox's create body, but for what it executes. */
import type { z } from "@hono/zod-openapi";
import { SHIPPED_SECCOMP_PROFILE } from "../../host/isolation.ts";
import type { Engine } from "../../launcher/engine/engine.ts";
import { newId } from "../../launcher/engine/labels.ts";
import { runOnce } from "../../launcher/isolation/run-once.ts";
import type { Ceilings, SandboxData } from "../../launcher/spec/create-body.ts";
import { answerOf, hasAnswered, PROBE } from "../../server/doctor/probe.ts";

const PYTHON = "/opt/python/bin/python3";
const DEADLINE_MS = 60_000;
/** Not the instance of any launcher: none of them sweeps the probes away. */
const INSTANCE = "doctor";

export interface ProbeSettings {
  readonly engine: Engine;
  readonly imageId: string;
  readonly ceilings: Ceilings;
}

/** What the probe said; `null` when the sandbox ended without an answer. Throws the engine's errors. */
export async function runProbe<T extends z.ZodType>(
  settings: ProbeSettings,
  schema: T,
  args: readonly string[],
  data: SandboxData = { kind: "fresh" },
): Promise<z.output<T> | null> {
  const { ceilings, engine, imageId } = settings;
  const ran = await runOnce({
    engine,
    sandbox: {
      id: newId(),
      instance: INSTANCE,
      profile: "doctor",
      imageId,
      seccomp: SHIPPED_SECCOMP_PROFILE,
      ceilings,
      data,
      checkpoints: null,
    },
    command: [PYTHON, "-I", "-c", PROBE, ...args],
    answered: hasAnswered,
    withinMs: DEADLINE_MS,
  });
  if (ran.state === "not-started") throw ran.error;
  return answerOf(ran.stdout, schema);
}
