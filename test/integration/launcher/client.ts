/** A launcher process of the test's own, and a client of its socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { encodeFrame, FrameDecoder } from "../../../gateway/common/protocol/frames.ts";
import {
  LauncherHealth,
  Sandbox,
  SandboxList,
  UPGRADE_PROTOCOL,
} from "../../../gateway/common/protocol/launcher-api.ts";
import { parseSandboxMessage, type SandboxMessage } from "../../../gateway/common/protocol/messages.ts";
import { allContainersOf, docker, instanceOf } from "./host.ts";

const MAIN = fileURLToPath(new URL("../../../gateway/launcher/main.ts", import.meta.url));

export const FRESH = { kind: "fresh", profile: "default" };

/** A session of this run alone: Docker volumes are shared by all that use the engine. */
export function namedSession() {
  return {
    kind: "session",
    profile: "default",
    session: { kind: "named", tenant: "default", name: `t-${randomBytes(6).toString("hex")}` },
  };
}

/** What the launcher keeps on purpose, and a test does not: session volumes. */
async function removeVolumes(dataDir: string): Promise<void> {
  if (!existsSync(join(dataDir, "instance"))) return;
  for (const id of await allContainersOf(dataDir)) await docker.getContainer(id).remove({ force: true });
  const label = [`kernelyard.instance=${instanceOf(dataDir)}`];
  const { Volumes } = await docker.listVolumes({ filters: { label } });
  for (const volume of Volumes) await docker.getVolume(volume.Name).remove();
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class LauncherProcess implements AsyncDisposable {
  readonly dataDir: string;
  readonly socket: string;
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;
  #log = "";

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.dataDir = mkdtempSync(join(tmpdir(), "kernelyard-launcher-"));
    this.socket = join(this.dataDir, "launcher.sock");
    this.#env = env;
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("the launcher does not run");
    return this.#child.pid;
  }

  /** Resolves when it listens; `proven`: and has proven isolation. Rejects with its log when it ends instead. */
  async start(until: "listens" | "proven" = "proven"): Promise<void> {
    const message = until === "proven" ? "isolation is proven" : "launcher listens";
    const child = spawn(process.execPath, [MAIN], {
      env: {
        PATH: process.env.PATH ?? "",
        ...(process.env.KERNELYARD_IMAGE === undefined
          ? {}
          : { KERNELYARD_IMAGE: process.env.KERNELYARD_IMAGE }),
        KERNELYARD_DATA_DIR: this.dataDir,
        KERNELYARD_LAUNCHER_SOCKET: this.socket,
        ...this.#env,
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    const from = this.#log.length;
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk: Buffer) => {
        this.#log += chunk.toString();
        if (this.#log.includes(message, from)) resolve();
      });
      child.once("exit", (code, signal) => {
        reject(new Error(`the launcher ended (${code ?? signal}):\n${this.#log.slice(from)}`));
      });
    });
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null)
      return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    child.kill(signal);
    return ended;
  }

  /** Resolves when the log says so, now or later. */
  async logged(text: string, from = 0): Promise<void> {
    while (!this.#log.includes(text, from)) {
      const child = this.#child;
      if (child?.stderr == null || child.exitCode !== null)
        throw new Error(`never logged: ${text}\n${this.#log}`);
      await once(child.stderr, "data");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGTERM");
    await removeVolumes(this.dataDir);
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  call(method: string, path: string, body?: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socket, method, path, agent: false }, (response) => {
        readBody(response).then(
          (text) =>
            resolve({ status: response.statusCode ?? 0, body: text === "" ? null : JSON.parse(text) }),
          reject,
        );
      });
      call.once("error", reject);
      if (body !== undefined) {
        call.setHeader("Content-Type", "application/json");
        call.write(JSON.stringify(body));
      }
      call.end();
    });
  }

  async create(body: unknown): Promise<Sandbox> {
    const answer = await this.call("POST", "/sandboxes", body);
    if (answer.status !== 201)
      throw new Error(`${answer.status} ${JSON.stringify(answer.body)}\n${this.#log}`);
    return Sandbox.parse(answer.body);
  }

  async list(): Promise<Sandbox[]> {
    return SandboxList.parse((await this.call("GET", "/sandboxes")).body).sandboxes;
  }

  async health(): Promise<LauncherHealth> {
    return LauncherHealth.parse((await this.call("GET", "/health")).body);
  }

  attach(id: string): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.socket,
        path: `/sandboxes/${id}/stream`,
        headers: { Connection: "Upgrade", Upgrade: UPGRADE_PROTOCOL },
        agent: false,
      });
      call.once("upgrade", (_response, socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve(new Stream(socket));
      });
      call.once("response", (response) => {
        readBody(response).then((text) => reject(new Error(`${response.statusCode} ${text}`)), reject);
      });
      call.once("error", reject);
      call.end();
    });
  }

  /** Attaches, and waits for the supervisor's answer. */
  async converse(id: string): Promise<Stream> {
    const stream = await this.attach(id);
    await stream.hello();
    return stream;
  }
}

type Of<T extends SandboxMessage["msg_type"]> = Extract<SandboxMessage, { msg_type: T }>;

interface Waiter {
  readonly matches: (message: SandboxMessage) => boolean;
  readonly resolve: (message: SandboxMessage) => void;
  readonly reject: (error: Error) => void;
}

/** The frames of one sandbox, as a gateway sees them. */
export class Stream {
  readonly socket: Duplex;
  readonly ended: Promise<void>;
  readonly #decoder = new FrameDecoder();
  #waiters: Waiter[] = [];
  #ids = 0;
  stdout = "";

  constructor(socket: Duplex) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => {
      for (const frame of this.#decoder.push(chunk)) {
        const message = parseSandboxMessage(frame.header);
        if (message === null) throw new Error(`not a message: ${frame.header.toString()}`);
        if (message.msg_type === "stream" && message.content.name === "stdout") this.stdout += frame.body;
        for (const waiter of this.#waiters.filter((w) => w.matches(message))) waiter.resolve(message);
        this.#waiters = this.#waiters.filter((w) => !w.matches(message));
      }
    });
    this.ended = new Promise((resolve) => {
      const end = () => {
        for (const waiter of this.#waiters) waiter.reject(new Error("the stream ended"));
        this.#waiters = [];
        resolve();
      };
      socket.on("close", end);
      socket.on("end", () => socket.end());
      socket.on("error", () => {});
    });
  }

  #next<T extends SandboxMessage["msg_type"]>(type: T, parent: string): Promise<Of<T>> {
    const isIt = (message: SandboxMessage): message is Of<T> =>
      message.msg_type === type && "parent_id" in message && message.parent_id === parent;
    return new Promise((resolve, reject) => {
      this.#waiters.push({
        matches: isIt,
        resolve: (message) => {
          if (isIt(message)) resolve(message);
        },
        reject,
      });
    });
  }

  hello(): Promise<Of<"hello_reply">> {
    const id = `hello-${++this.#ids}`;
    const reply = this.#next("hello_reply", id);
    this.socket.write(encodeFrame({ msg_type: "hello_request", msg_id: id, content: { nonce: id } }));
    return reply;
  }

  /** Runs code; its standard output is added to `stdout`. */
  execute(code: string, timeoutMs = 30_000, language = "py"): Promise<Of<"execute_reply">> {
    const id = `execute-${++this.#ids}`;
    const reply = this.#next("execute_reply", id);
    this.socket.write(executeFrame(id, code, timeoutMs, language));
    return reply;
  }

  close(): void {
    this.socket.destroy();
  }
}

export function executeFrame(id: string, code: string, timeoutMs: number, language = "py"): Buffer {
  const body = Buffer.from(code);
  const content = {
    language,
    args: [],
    code_bytes: body.length,
    timeout_ms: timeoutMs,
    stdout_limit: 65536,
    stderr_limit: 65536,
  };
  return encodeFrame({ msg_type: "execute_request", msg_id: id, content }, body);
}

async function readBody(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}
