/**
 * Launcher and gateway as real processes on a data directory of their own. `stop()` leaves nothing: no process, no
 * container, no volume, no directory.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Docker from "dockerode";
import { gatewayMemory, heapFlags, LAUNCHER_HEAP_FLAGS } from "../../gateway/common/gateway-memory.ts";
import { gatewayHealthy, launcherHealth, waitFor } from "../../gateway/common/protocol/readiness.ts";
import { readSettings } from "../../gateway/common/settings/read.ts";
import { prepareDataDirectory } from "../../gateway/host/data-directory.ts";
import { SERVICE_USER } from "../../gateway/host/isolation.ts";
import { removeAbandoned, removeInstance, stackPrefix } from "./abandoned.ts";

const ROOT = join(import.meta.dirname, "../..");
const READY_WITHIN_MS = 60_000;
const TEMPLATES_WITHIN_MS = 120_000;
const STOP_WITHIN_MS = 30_000;
const KEPT_LINES = 200;

export interface StackOptions {
  /** `KERNELYARD_*` beside the stack's own. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * `default`: the service's own, templates are made beside the test. `ready`: likewise, and the stack is ready when
   * sandboxes are made from them. `off`, for tests of what no checkpoint has a part in: each stack makes its templates
   * anew, which takes eight seconds of CPU. Default: `off`.
   */
  readonly checkpoints?: "default" | "ready" | "off";
  /** Lets `HeldMemory` ask the services what they hold. */
  readonly inspect?: boolean;
  /** Where the gateway listens. Default: a free one, which it keeps. */
  readonly port?: number;
}

/** A service of the stack, with its last words. */
class Service {
  readonly #command: readonly string[];
  readonly #env: () => NodeJS.ProcessEnv;
  readonly lines: string[] = [];
  /** Where a service that was started with `--inspect` answers. */
  inspector = "";
  #child: ChildProcess | null = null;
  #onLine: (line: string) => void = () => {};

  constructor(command: readonly string[], env: () => NodeJS.ProcessEnv) {
    this.#command = command;
    this.#env = env;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the service does not run");
    return pid;
  }

  start(): void {
    const child = spawn(process.execPath, this.#command, {
      cwd: ROOT,
      env: this.#env(),
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (line) => {
        this.lines.push(line);
        this.inspector = /^Debugger listening on (ws:\S+)/.exec(line)?.[1] ?? this.inspector;
        if (this.lines.length > KEPT_LINES) this.lines.shift();
        this.#onLine(line);
      });
    }
  }

  /** The first line for which `pick` gives a value; rejects when the service ends before. */
  async line<T>(pick: (line: string) => T | null): Promise<T> {
    const child = this.#child;
    if (child === null) throw new Error("the service does not run");
    return new Promise((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${this.lines.join("\n")}`)));
      this.#onLine = (line) => {
        const value = pick(line);
        if (value !== null) resolve(value);
      };
    });
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const kill = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
    await ended;
    clearTimeout(kill);
    this.#child = null;
  }
}

export class Stack {
  readonly apiKey = "integration-test-key";
  readonly dataDir: string;
  readonly docker: Docker;
  readonly launcher: Service;
  readonly gateway: Service;
  readonly #launcherSocket: string;
  #port = 0;

  constructor(options: StackOptions) {
    this.dataDir = mkdtempSync(stackPrefix());
    // Its parts have modes of their own; the gateway's user has to reach them.
    chmodSync(this.dataDir, 0o755);
    prepareDataDirectory(this.dataDir, serviceOwner());
    const image = process.env.KERNELYARD_IMAGE;
    const own = {
      // A checkout whose image has a tag of its own.
      ...(image === undefined ? {} : { KERNELYARD_IMAGE: image }),
      KERNELYARD_DATA_DIR: this.dataDir,
      KERNELYARD_AUTH: "api-key",
      KERNELYARD_API_KEYS: this.apiKey,
      // Stacks stand side by side; who looks at them chooses a port.
      KERNELYARD_METRICS_PORT: "0",
      ...((options.checkpoints ?? "off") === "off" ? { KERNELYARD_CHECKPOINTS: "off" } : {}),
      ...options.env,
    };
    this.#port = options.port ?? 0;
    const settings = readSettings(own);
    this.#launcherSocket = settings.launcherSocket;
    this.docker = new Docker({ socketPath: settings.dockerSocket });
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("KERNELYARD_"));
    const env = () => ({ ...Object.fromEntries(inherited), ...own, KERNELYARD_PORT: String(this.#port) });
    const node = options.inspect === true ? ["--inspect=127.0.0.1:0"] : [];
    this.launcher = new Service([...node, ...LAUNCHER_HEAP_FLAGS, "gateway/launcher/main.ts"], env);
    const heap = [...node, ...heapFlags(gatewayMemory(settings.gatewayMemoryBytes))];
    this.gateway = new Service([...heap, "gateway/server/main.ts", "--user", SERVICE_USER], env);
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get launcherPid(): number {
    return this.launcher.pid;
  }

  get gatewayPid(): number {
    return this.gateway.pid;
  }

  /** The label that this stack's containers and volumes carry. */
  get instance(): string {
    return readFileSync(join(this.dataDir, "instance"), "utf8").trim();
  }

  async startLauncher(): Promise<void> {
    this.launcher.start();
    const died = this.launcher.line(() => null);
    await Promise.race([
      waitFor("the launcher", READY_WITHIN_MS, () => launcherHealth(this.#launcherSocket)),
      died,
    ]);
    died.catch(() => {});
  }

  /** Ready when it has executed code. A port that was given once is kept. */
  async startGateway(): Promise<void> {
    this.gateway.start();
    this.#port = await this.gateway.line(portOf);
    await waitFor("the gateway", READY_WITHIN_MS, () => gatewayHealthy("127.0.0.1", this.#port));
  }

  /** Resolves when sandboxes are made from checkpoints. */
  async checkpointsReady(): Promise<void> {
    await waitFor("checkpoints", TEMPLATES_WITHIN_MS, async () => {
      const health = await launcherHealth(this.#launcherSocket);
      if (health?.checkpoints.state === "off") throw new Error(`they are off: ${health.checkpoints.reason}`);
      return health?.checkpoints.state === "on" ? true : null;
    });
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal) {
    return fetch(`${this.baseUrl}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": this.apiKey, ...headers },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** This stack's containers, running or not, but for those that the launcher makes and proves its templates with. */
  async containers(kind?: "session" | "fresh"): Promise<Docker.ContainerInfo[]> {
    const label = [
      `kernelyard.instance=${this.instance}`,
      ...(kind === undefined ? [] : [`kernelyard.kind=${kind}`]),
    ];
    const all = await this.docker.listContainers({ all: true, filters: { label } });
    return all.filter(({ Labels }) => Labels["kernelyard.kind"] !== "template");
  }

  async stop(): Promise<void> {
    try {
      await this.gateway.signal("SIGTERM");
      await this.launcher.signal("SIGTERM");
      await removeInstance(this.docker, this.instance);
    } finally {
      rmSync(this.dataDir, { recursive: true, force: true });
    }
  }
}

function serviceOwner(): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync("id", [flag, SERVICE_USER], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

function portOf(line: string): number | null {
  if (!line.startsWith("{")) return null;
  const record: unknown = JSON.parse(line);
  if (typeof record !== "object" || record === null) return null;
  if (!("msg" in record) || record.msg !== "ready" || !("port" in record)) return null;
  return typeof record.port === "number" ? record.port : null;
}

/** Starts both services; throws with their last words when one does not come up, and leaves nothing then. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const stack = new Stack(options);
  try {
    await removeAbandoned(stack.docker);
    await stack.startLauncher();
    await stack.startGateway();
    if (options.checkpoints === "ready") await stack.checkpointsReady();
    return stack;
  } catch (error) {
    const said = [...stack.launcher.lines.slice(-20), ...stack.gateway.lines.slice(-20)].join("\n");
    await stack.stop().catch(() => {});
    throw new Error(`The stack did not start. It said:\n${said}`, { cause: error });
  }
}
