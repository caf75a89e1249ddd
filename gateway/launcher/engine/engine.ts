/**
 * The Docker engine as the launcher needs it, and no wider. This module alone talks to the engine's socket; whatever
 * comes back is parsed here. Every call has a deadline, at which its connection is closed.
 */
import { Agent, request } from "node:http";
import type { Duplex, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import Docker, { type ContainerCreateOptions, type DockerOptions } from "dockerode";
import type { EngineOutcome } from "../../common/protocol/launcher-figures.ts";

export interface EngineContainer {
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `created`, `running`, `exited` … */
  readonly state: string;
  readonly imageId: string;
}

export interface EngineVolume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly mountpoint: string;
}

export interface EngineRuntime {
  /** The runtime's program; absent for the engine's own. */
  readonly path?: string | undefined;
  readonly runtimeArgs?: readonly string[] | null | undefined;
}

export interface EngineVersion {
  readonly version: string;
  readonly runtimes: Readonly<Record<string, EngineRuntime>>;
}

export type EngineEvent =
  | { readonly type: "oom"; readonly containerId: string }
  | { readonly type: "die"; readonly containerId: string; readonly exitCode: number | null }
  | { readonly type: "destroy"; readonly containerId: string };

export interface Engine {
  version(): Promise<EngineVersion>;
  /** The digest that a name has now; null when there is no such image. */
  imageId(name: string): Promise<string | null>;
  createContainer(name: string, body: ContainerCreateOptions): Promise<string>;
  /** A stream of the container's stdin, and of stdout and stderr in the engine's framing. */
  attach(containerId: string): Promise<Duplex>;
  startContainer(containerId: string): Promise<void>;
  /** Resolves when the runtime has done what the signal is for; waits up to `withinMs`. */
  signalContainer(containerId: string, signal: NodeJS.Signals, withinMs: number): Promise<void>;
  /** The main process as the host numbers it; null when the container is not running or unknown. */
  pid(containerId: string): Promise<number | null>;
  /** Kills and removes, with its nameless volumes; resolves when the container is gone, also when there was none. */
  removeContainer(containerId: string): Promise<void>;
  /** Without those that are gone by `removeContainer`'s word. */
  listContainers(label: string): Promise<EngineContainer[]>;
  createVolume(name: string, labels: Record<string, string>, options: Record<string, string>): Promise<void>;
  volume(name: string): Promise<EngineVolume | null>;
  listVolumes(label: string): Promise<EngineVolume[]>;
  removeVolume(name: string): Promise<void>;
  /** One value per line that the engine sends; ends with the connection. */
  events(label: string, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>;
}

/** The engine cannot be reached, or does not answer in time. */
export class EngineAwayError extends Error {
  override readonly name = "EngineAwayError";
}

/** The engine answered, with a refusal. */
export class EngineRefusedError extends Error {
  override readonly name = "EngineRefusedError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface EngineOptions {
  /** For calls that make or remove something. */
  readonly callMs?: number;
  /** For calls that only ask. */
  readonly askMs?: number;
  /** Told of every call when it is over. */
  readonly onCall?: (what: string, outcome: EngineOutcome, ms: number) => void;
}

const CALL_MS = 20_000;
const ASK_MS = 5_000;
const REMOVAL_ASKED_EVERY_MS = 25;
const MAX_EVENT_LINE = 256 * 1024;
const AWAY_CODES = new Set(["ECONNREFUSED", "ENOENT", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EACCES"]);

const Failure = z.object({
  statusCode: z.number().optional(),
  code: z.string().optional(),
  message: z.string().optional(),
  json: z.object({ message: z.string() }).optional().catch(undefined),
});
const Labels = z.record(z.string(), z.string()).nullish();
const Inspection = z.object({ State: z.object({ Running: z.boolean(), Pid: z.number() }) });
const Containers = z.array(z.object({ Id: z.string(), Labels, State: z.string(), ImageID: z.string() }));
const Volume = z.object({
  Name: z.string(),
  Labels,
  Options: z.record(z.string(), z.string()).nullish(),
  Mountpoint: z.string(),
});
const Volumes = z.object({ Volumes: z.array(Volume).nullish() });
const Info = z.object({
  ServerVersion: z.string(),
  Runtimes: z
    .record(z.string(), z.object({ path: z.string().optional(), runtimeArgs: z.array(z.string()).nullish() }))
    .nullish(),
});
const Image = z.object({ Id: z.string().regex(/^sha256:[0-9a-f]{64}$/) });
const Event = z.object({
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()) }),
});

function volumeOf(raw: z.infer<typeof Volume>): EngineVolume {
  return { name: raw.Name, labels: raw.Labels ?? {}, options: raw.Options ?? {}, mountpoint: raw.Mountpoint };
}

export class DockerEngine implements Engine {
  readonly #socketPath: string;
  readonly #callMs: number;
  readonly #askMs: number;
  readonly #onCall: NonNullable<EngineOptions["onCall"]>;
  /**
   * An engine that was killed and started again may list a container that it does not know, until its next start: one
   * that its own removal (`AutoRemove`) met while it was being restored. Such are left out of the lists.
   */
  #unknown: ReadonlySet<string> = new Set();

  constructor(
    socketPath: string,
    { callMs = CALL_MS, askMs = ASK_MS, onCall = () => {} }: EngineOptions = {},
  ) {
    this.#socketPath = socketPath;
    this.#callMs = callMs;
    this.#askMs = askMs;
    this.#onCall = onCall;
  }

  async version(): Promise<EngineVersion> {
    const info = Info.parse(await this.#ask("info", (docker) => docker.info()));
    return { version: info.ServerVersion, runtimes: info.Runtimes ?? {} };
  }

  async imageId(name: string): Promise<string | null> {
    const inspection = this.#call("inspect image", (docker) => docker.getImage(name).inspect());
    const raw = await this.#unless404(inspection);
    return raw === null ? null : Image.parse(raw).Id;
  }

  async createContainer(name: string, body: ContainerCreateOptions): Promise<string> {
    // Without `_query` and `_body` the whole body, seccomp profile and all, would be sent in the URL as well.
    const split: ContainerCreateOptions & { _query: object; _body: object } = {
      _query: { name },
      _body: body,
    };
    const container = await this.#call("create container", (docker) => docker.createContainer(split));
    return container.id;
  }

  attach(containerId: string): Promise<Duplex> {
    const path = `/containers/${containerId}/attach?stream=1&stdin=1&stdout=1&stderr=1`;
    return this.#call("attach", (_docker, agent) => {
      return new Promise<Duplex>((resolve, reject) => {
        const call = request({
          socketPath: this.#socketPath,
          method: "POST",
          path,
          headers: { Connection: "Upgrade", Upgrade: "tcp" },
          agent,
        });
        call.once("upgrade", (_response, socket, head) => {
          if (head.length > 0) socket.unshift(head);
          resolve(socket);
        });
        call.once("response", (response) => {
          response.resume();
          const status = response.statusCode ?? 0;
          reject(new EngineRefusedError(status, `the engine refused to attach (HTTP ${status})`));
        });
        call.on("error", reject);
        call.end();
      });
    });
  }

  async startContainer(containerId: string): Promise<void> {
    await this.#call("start container", (docker) => docker.getContainer(containerId).start());
  }

  async signalContainer(containerId: string, signal: NodeJS.Signals, withinMs: number): Promise<void> {
    await this.#call(
      "signal container",
      (docker) => docker.getContainer(containerId).kill({ signal }),
      withinMs,
    );
  }

  async pid(containerId: string): Promise<number | null> {
    const inspection = this.#call("inspect container", (docker) =>
      docker.getContainer(containerId).inspect(),
    );
    const raw = await this.#unless404(inspection);
    if (raw === null) return null;
    const { State } = Inspection.parse(raw);
    return State.Running ? State.Pid : null;
  }

  async removeContainer(containerId: string): Promise<void> {
    const deadline = performance.now() + this.#callMs;
    // Asked until it is gone, not waited for: the engine forgets a waiter that comes while it removes.
    while (!(await this.#removed(containerId))) {
      if (performance.now() > deadline) {
        throw new EngineAwayError(`the Docker engine did not remove ${containerId} in its time`);
      }
      await delay(REMOVAL_ASKED_EVERY_MS);
    }
  }

  /** False while the engine's own removal (`AutoRemove`) is under way. */
  async #removed(containerId: string): Promise<boolean> {
    try {
      await this.#call("remove container", (docker) =>
        docker.getContainer(containerId).remove({ force: true, v: true }),
      );
      return true;
    } catch (error) {
      if (error instanceof EngineRefusedError && error.status === 404) {
        this.#unknown = new Set([...this.#unknown, containerId]);
        return true;
      }
      if (error instanceof EngineRefusedError && error.status === 409) return false;
      throw error;
    }
  }

  async listContainers(label: string): Promise<EngineContainer[]> {
    const filters = { label: [label] };
    const listed = await this.#ask("list containers", (docker) =>
      docker.listContainers({ all: true, filters }),
    );
    const containers = Containers.parse(listed);
    const unknown = this.#unknown;
    this.#unknown = new Set(containers.map((c) => c.Id).filter((id) => unknown.has(id)));
    return containers
      .filter((c) => !unknown.has(c.Id))
      .map((c) => ({ id: c.Id, labels: c.Labels ?? {}, state: c.State, imageId: c.ImageID }));
  }

  async createVolume(
    name: string,
    labels: Record<string, string>,
    options: Record<string, string>,
  ): Promise<void> {
    const body = { Name: name, Driver: "local", DriverOpts: options, Labels: labels };
    await this.#call("create volume", (docker) => docker.createVolume(body));
  }

  async volume(name: string): Promise<EngineVolume | null> {
    const inspection = this.#call("inspect volume", (docker) => docker.getVolume(name).inspect());
    const raw = await this.#unless404(inspection);
    return raw === null ? null : volumeOf(Volume.parse(raw));
  }

  async listVolumes(label: string): Promise<EngineVolume[]> {
    const filters = { label: [label] };
    const listed = await this.#ask("list volumes", (docker) => docker.listVolumes({ filters }));
    return (Volumes.parse(listed).Volumes ?? []).map(volumeOf);
  }

  async removeVolume(name: string): Promise<void> {
    await this.#unless404(this.#call("remove volume", (docker) => docker.getVolume(name).remove()));
  }

  async events(label: string, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const filters = JSON.stringify({
      type: ["container"],
      event: ["oom", "die", "destroy"],
      label: [label],
    });
    const readable = await this.#ask("follow events", (docker) =>
      docker.getEvents({ filters, abortSignal: signal }),
    );
    return parseEvents(readable);
  }

  async #unless404<T>(call: Promise<T>): Promise<T | null> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof EngineRefusedError && error.status === 404) return null;
      throw error;
    }
  }

  #ask<T>(what: string, work: (docker: Docker) => Promise<T>): Promise<T> {
    return this.#call(what, work, this.#askMs);
  }

  /** Every call has a connection of its own: closing it is how a hung engine is let go of. */
  async #call<T>(
    what: string,
    work: (docker: Docker, agent: Agent) => Promise<T>,
    withinMs: number = this.#callMs,
  ): Promise<T> {
    const agent = new Agent({ keepAlive: false });
    const options: DockerOptions & { agent: Agent } = { socketPath: this.#socketPath, agent };
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new EngineAwayError(`${what}: the Docker engine gave no answer in ${withinMs} ms`));
        agent.destroy();
      }, withinMs);
    });
    const began = performance.now();
    let outcome: EngineOutcome = "ok";
    try {
      return await Promise.race([work(new Docker(options), agent), deadline]);
    } catch (error) {
      const failure = this.#failure(what, error);
      outcome = failure instanceof EngineAwayError ? "away" : "refused";
      throw failure;
    } finally {
      clearTimeout(timer);
      this.#onCall(what, outcome, performance.now() - began);
    }
  }

  #failure(what: string, error: unknown): EngineAwayError | EngineRefusedError {
    if (error instanceof EngineAwayError || error instanceof EngineRefusedError) return error;
    const failure = Failure.safeParse(error);
    const { statusCode, code, message, json } = failure.success ? failure.data : {};
    if (statusCode !== undefined) {
      const reason = json?.message ?? message ?? `HTTP ${statusCode}`;
      return new EngineRefusedError(statusCode, `${what}: ${reason}`);
    }
    if (code !== undefined && AWAY_CODES.has(code)) {
      return new EngineAwayError(
        `${what}: the Docker engine does not answer on ${this.#socketPath} (${code}); start it, or set KERNELYARD_DOCKER_SOCKET`,
      );
    }
    return new EngineAwayError(`${what}: ${message ?? String(error)}`, { cause: error });
  }
}

async function* parseEvents(stream: NodeJS.ReadableStream | Readable): AsyncIterable<EngineEvent> {
  let rest = "";
  for await (const chunk of stream) {
    rest += chunk.toString();
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_EVENT_LINE) throw new EngineAwayError("the engine's event stream has no line ends");
    for (const line of lines) {
      const event = parseEvent(line);
      if (event !== null) yield event;
    }
  }
}

function parseEvent(line: string): EngineEvent | null {
  if (line.trim() === "") return null;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const parsed = Event.safeParse(value);
  if (!parsed.success) return null;
  const { Action, Actor } = parsed.data;
  const containerId = Actor.ID;
  if (Action === "oom" || Action === "destroy") return { type: Action, containerId };
  if (Action !== "die") return null;
  const exitCode = Number.parseInt(Actor.Attributes.exitCode ?? "", 10);
  return { type: "die", containerId, exitCode: Number.isNaN(exitCode) ? null : exitCode };
}
