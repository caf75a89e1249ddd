/** Runs one program in a container that has exactly a sandbox's create body, but for what it executes. */
import type { Duplex } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { DemultiplexError, Demultiplexer } from "../engine/demultiplexer.ts";
import type { Engine } from "../engine/engine.ts";
import { containerName, LABEL } from "../engine/labels.ts";
import { type SandboxSpecInput, sandboxSpec } from "../spec/create-body.ts";

/** Of each run; the rest is dropped. */
const MAX_OUTPUT = 64 * 1024;

export interface RunOnce {
  readonly engine: Engine;
  /** Its id names the container. */
  readonly sandbox: Omit<SandboxSpecInput, "createdAt">;
  readonly command: readonly [program: string, ...args: string[]];
  /** Looks at the standard output so far. */
  readonly answered: (stdout: string) => boolean;
  readonly withinMs: number;
}

export type Ran =
  | { readonly state: "not-started"; readonly error: unknown }
  /** `ended`: its stream ended without an answer; `silent`: it gave none in its time. */
  | { readonly state: "answered" | "ended" | "silent"; readonly stdout: string };

/** The container is gone when this settles. Throws the engine's errors, but for those of its start. */
export async function runOnce(run: RunOnce): Promise<Ran> {
  const { engine, sandbox } = run;
  const [program, ...args] = run.command;
  const body = sandboxSpec({ ...sandbox, createdAt: Date.now() });
  const containerId = await engine.createContainer(containerName(sandbox.id), {
    ...body,
    Entrypoint: [program, ...args],
    Cmd: [],
    Labels: { ...body.Labels, [LABEL.kind]: "probe" },
  });
  try {
    // Attached before it starts: not a byte is lost.
    const stream = await engine.attach(containerId);
    try {
      const said = listen(stream, run);
      try {
        await engine.startContainer(containerId);
      } catch (error) {
        return { state: "not-started", error };
      }
      return await said;
    } finally {
      stream.destroy();
    }
  } finally {
    await engine.removeContainer(containerId);
  }
}

function listen(stream: Duplex, { answered, withinMs }: RunOnce): Promise<Ran> {
  return new Promise((resolve) => {
    let stdout = "";
    const decoder = new StringDecoder("utf8");
    const done = (state: "answered" | "ended" | "silent") => {
      clearTimeout(timer);
      resolve({ state, stdout });
    };
    const timer = setTimeout(() => done("silent"), withinMs);
    const demultiplexer = new Demultiplexer({
      stdout: (slice) => {
        if (stdout.length < MAX_OUTPUT) stdout += decoder.write(slice);
      },
      stderr: () => {},
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        demultiplexer.push(chunk);
      } catch (error) {
        if (!(error instanceof DemultiplexError)) throw error;
        done("ended");
      }
      if (answered(stdout)) done("answered");
    });
    for (const event of ["end", "close", "error"]) stream.on(event, () => done("ended"));
  });
}
