/** Runs the probe in a container that has exactly a sandbox's create body, but for what it executes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { z } from "@hono/zod-openapi";
import type { ContainerCreateOptions } from "dockerode";
import { SHIPPED_SECCOMP_PROFILE } from "../../host/isolation.ts";
import { Demultiplexer } from "../../launcher/engine/demultiplexer.ts";
import type { Engine } from "../../launcher/engine/engine.ts";
import { containerName, LABEL, newId } from "../../launcher/engine/labels.ts";
import { type Ceilings, type SandboxData, sandboxSpec } from "../../launcher/spec/create-body.ts";

const PROBE = readFileSync(join(import.meta.dirname, "probe.py"), "utf8");
const PYTHON = "/opt/python/bin/python3";
const MARK = "kernelyard-doctor:";
const DEADLINE_MS = 60_000;
const MAX_OUTPUT = 64 * 1024;
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
  const { engine } = settings;
  const id = newId();
  const body: ContainerCreateOptions = {
    ...sandboxSpec({
      id,
      instance: INSTANCE,
      createdAt: Date.now(),
      profile: "doctor",
      imageId: settings.imageId,
      seccomp: SHIPPED_SECCOMP_PROFILE,
      ceilings: settings.ceilings,
      data,
    }),
    Entrypoint: [PYTHON, "-I", "-c", PROBE],
    Cmd: [...args],
  };
  body.Labels = { ...body.Labels, [LABEL.kind]: "probe" };
  const containerId = await engine.createContainer(containerName(id), body);
  let stream: Duplex | null = null;
  try {
    stream = await engine.attach(containerId);
    const said = lastWords(stream);
    await engine.startContainer(containerId);
    const text = await said;
    const line = text.split("\n").find((candidate) => candidate.startsWith(MARK));
    return line === undefined ? null : schema.parse(JSON.parse(line.slice(MARK.length)));
  } finally {
    stream?.destroy();
    await engine.removeContainer(containerId);
  }
}

/** The probe's standard output until it has answered, or has ended, or takes too long. */
function lastWords(stream: Duplex): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const timer = setTimeout(() => resolve(text), DEADLINE_MS);
    const done = () => {
      clearTimeout(timer);
      resolve(text);
    };
    const demultiplexer = new Demultiplexer({
      stdout: (slice) => {
        if (text.length < MAX_OUTPUT) text += slice.toString("utf8");
      },
      stderr: () => {},
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch {
        done();
      }
      const at = text.indexOf(MARK);
      if (at >= 0 && text.includes("\n", at)) done();
    });
    for (const event of ["end", "close", "error"]) stream.on(event, done);
  });
}
