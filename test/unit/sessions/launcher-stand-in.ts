/**
 * A launcher at its unix socket, whose sandboxes follow a script. Strict: a request outside the API, a frame that the
 * script did not expect, or a broken frame fails the test through `failures`.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeFrame, FrameDecoder } from "../../../gateway/common/protocol/frames.ts";
import {
  CreateSandbox,
  ForgetVariables,
  type LauncherError,
  type LauncherHealth,
  type Sandbox,
  type SandboxEnd,
  SessionKey,
  type SleepingSession,
  UPGRADE_PROTOCOL,
} from "../../../gateway/common/protocol/launcher-api.ts";
import type { LauncherFigures } from "../../../gateway/common/protocol/launcher-figures.ts";
import type { GatewayMessage, SandboxMessage } from "../../../gateway/common/protocol/messages.ts";

export type Script = (message: GatewayMessage, body: Buffer, sandbox: SandboxStandIn) => void;

export const OK_REPLY = {
  status: "ok",
  execution_count: 1,
  exit_code: 0,
  signal: null,
  reason: null,
  kernel: "kept",
  wall_time_ms: 1,
  stdout_truncated: false,
  stderr_truncated: false,
} as const;

export class SandboxStandIn {
  readonly info: Sandbox;
  readonly received: GatewayMessage[] = [];
  socket: Socket | null = null;
  executing: string | null = null;
  /** Run by its kernel: programs of other languages are none. */
  cells = 0;
  language = "py";
  used: boolean;
  ended: SandboxEnd | null = null;
  origin: Sandbox["origin"] = "cold";
  lost: string | null = null;

  constructor(info: Sandbox) {
    this.info = info;
    this.used = info.used;
  }

  get id(): string {
    return this.info.id;
  }

  send(message: SandboxMessage, body?: Buffer): void {
    this.sendRaw(encodeFrame(message, body));
  }

  sendRaw(bytes: Buffer): void {
    this.socket?.write(bytes);
  }

  print(parent: string, text: string, name: "stdout" | "stderr" = "stdout"): void {
    this.send({ msg_type: "stream", parent_id: parent, content: { name } }, Buffer.from(text));
  }

  reply(
    parent: string,
    content: Partial<Extract<SandboxMessage, { msg_type: "execute_reply" }>["content"]> = {},
  ): void {
    if (content.kernel === "restarted") this.cells = 0;
    else if (this.language === "py") this.cells += 1;
    this.executing = null;
    this.send({
      msg_type: "execute_reply",
      parent_id: parent,
      content: { ...OK_REPLY, execution_count: this.cells, ...content },
    });
  }

  /** The container is gone; the launcher knows why. */
  die(end: SandboxEnd): void {
    this.ended = end;
    this.socket?.destroy();
  }
}

/** Prints the code itself, and ends well. */
export const ECHO: Script = (message, body, sandbox) => {
  if (message.msg_type === "shutdown_request") {
    sandbox.cells = 0;
    sandbox.send({ msg_type: "shutdown_reply", parent_id: message.msg_id });
    return;
  }
  if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
  sandbox.print(message.msg_id, body.toString());
  sandbox.reply(message.msg_id);
};

export const HEALTH: LauncherHealth = {
  engine: { state: "ok", version: "20.10" },
  isolation: "runsc",
  runtime_version: "runsc 1",
  seccomp_sha256: "0".repeat(64),
  session_disk_quota: "loop",
  session_volume_problem: null,
  disk: { total: 1e12, free: 5e11, reserve: 1e10 },
  disk_promised: false,
  profiles: [{ name: "default", image: "custom-rce-kernel:latest", digest: `sha256:${"1".repeat(64)}` }],
  memory_budget_bytes: 4e9,
  sandbox_memory_bytes: 5e8,
  sandboxes: 0,
  capacity: 8,
  checkpoints: { state: "on", reason: null, sleeping: 0, sleeping_bytes: 0, restored: 0, failed: 0 },
};

export const FIGURES: LauncherFigures = {
  engine_calls: [{ operation: "create_container", outcome: "ok", count: 3, seconds: 0.6 }],
  starts: [{ kind: "session", outcome: "started", count: 3, seconds: 1.2 }],
  ends: [{ kind: "session", reason: "out_of_memory", count: 2 }],
  orphans: { containers: 1, devices: 0 },
  loop_devices: 3,
  session_volumes: { count: 5, bytes: 1e6 },
  process: {
    open_descriptors: 40,
    max_descriptors: 1024,
    resident_bytes: 1e8,
    cpu_seconds: 12.5,
    started_at_seconds: 1.7e9,
  },
};

export class LauncherStandIn {
  readonly socketPath: string;
  readonly sandboxes = new Map<string, SandboxStandIn>();
  readonly removed: string[] = [];
  /** Sessions that have data, as JSON of their keys. */
  readonly volumes = new Set<string>();
  readonly failures: Error[] = [];
  script: Script = ECHO;
  /** Sandboxes that fit. */
  capacity = 8;
  /** What the launcher's own settings have; it refuses all others. */
  profiles: readonly string[] = ["default"];
  figures = FIGURES;
  /** What its health says beside `HEALTH`. */
  health: Partial<LauncherHealth> = {};
  /** Answers every creation until it is set back to null. */
  refusal: { readonly status: number; readonly body: LauncherError } | null = null;
  /** Removals are refused, as while the engine is stuck. */
  keepsSandboxes = false;
  /** `off`: no sandbox can sleep; `busy`: not now. */
  sleeping: "on" | "off" | "busy" = "off";
  /** How long those that sleep have slept. */
  asleepMs = 0;
  /** Why each session's variables are gone, by its key's text, until it has a new sandbox. */
  readonly lost = new Map<string, string>();
  /** False: the script answers hello, too. */
  greets = true;
  created = 0;
  askedToSleep = 0;
  /** Creations that did not fit. */
  refused = 0;
  readonly #directory: string;
  #server: Server | null = null;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), "ky-launcher-"));
    this.socketPath = join(this.#directory, "launcher.sock");
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#route(request, response).catch((error) => this.#fail(error));
    });
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    server.on("upgrade", (request, socket, head) => {
      if (head.length > 0) this.#fail(new Error("frames before the upgrade was granted"));
      // The raw side of an http server on a unix socket is a net.Socket.
      this.#attach(request, socket as Socket);
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socketPath, resolve));
  }

  /** As a kill -9 does: every stream breaks, the sandboxes live on. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  closeIdleConnections(): void {
    this.#server?.closeIdleConnections();
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
    const [first] = this.failures;
    if (first !== undefined) throw first;
  }

  get live(): readonly SandboxStandIn[] {
    return [...this.sandboxes.values()].filter((sandbox) => sandbox.ended === null);
  }

  get asleep(): readonly SleepingSession[] {
    return [...this.sandboxes.values()].flatMap(({ ended, info: { owner = null, session } }) =>
      session !== null && ended?.reason === "asleep" ? [{ session, owner, asleep_ms: this.asleepMs }] : [],
    );
  }

  add(spec: CreateSandbox, used = false): SandboxStandIn {
    this.created += 1;
    if (spec.kind === "session") this.volumes.add(JSON.stringify(spec.session));
    const sandbox = new SandboxStandIn({
      id: `sandbox-${String(this.created).padStart(13, "0")}`,
      container_id: `container-${this.created}`,
      kind: spec.kind,
      profile: spec.profile,
      session: spec.kind === "session" ? spec.session : null,
      owner: spec.kind === "session" ? (spec.owner ?? null) : null,
      image: `sha256:${"1".repeat(64)}`,
      created_at: new Date().toISOString(),
      used,
      attached: false,
      origin: "cold",
      lost: null,
      ended: null,
    });
    this.sandboxes.set(sandbox.id, sandbox);
    return sandbox;
  }

  #fail(error: unknown): void {
    this.failures.push(error instanceof Error ? error : new Error(String(error)));
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = (status: number, body?: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    const what = `${request.method} ${request.url}`;
    const url = new URL(request.url ?? "", "http://launcher");
    const [, method, id, sleep] =
      /^(GET|DELETE|POST) \/sandboxes\/([A-Za-z0-9_-]{21})(\/sleep)?$/.exec(
        `${request.method} ${url.pathname}`,
      ) ?? [];
    if (id !== undefined && (method === "POST") === (sleep !== undefined)) {
      const { status, body } = this.#ofSandbox(id, method ?? "", url.searchParams.get("lost"));
      return answer(status, body);
    }
    if (what === "GET /health") return answer(200, { ...HEALTH, ...this.health, capacity: this.capacity });
    if (what === "GET /figures") return answer(200, this.figures);
    if (what === "GET /sandboxes") {
      return answer(200, { sandboxes: [...this.sandboxes.values()].map((sandbox) => this.#info(sandbox)) });
    }
    if (what === "GET /sessions/asleep") return answer(200, { sessions: this.asleep });
    if (what === "POST /sessions/forget") {
      let text = "";
      for await (const chunk of request) text += chunk;
      const key = JSON.stringify(SessionKey.parse(JSON.parse(text)));
      const holder = this.live.find(({ info }) => JSON.stringify(info.session) === key);
      if (holder !== undefined) {
        return answer(409, { error: "session_exists", message: "it lives", sandbox_id: holder.id });
      }
      this.#dropAsleep(key);
      if (this.volumes.delete(key)) return answer(204);
      return answer(404, { error: "not_found", message: "this session has no data" });
    }
    if (what === "POST /sessions/forget-variables") {
      let text = "";
      for await (const chunk of request) text += chunk;
      const { session, lost } = ForgetVariables.parse(JSON.parse(text));
      const key = JSON.stringify(session);
      const holder = this.live.find(({ info }) => JSON.stringify(info.session) === key);
      if (holder !== undefined) {
        return answer(409, { error: "session_exists", message: "it lives", sandbox_id: holder.id });
      }
      if (!this.#dropAsleep(key)) {
        return answer(404, { error: "not_found", message: "this session does not sleep" });
      }
      this.lost.set(key, lost);
      return answer(204);
    }
    if (what === "POST /sandboxes") {
      let text = "";
      for await (const chunk of request) text += chunk;
      const { status, body } = this.#create(CreateSandbox.parse(JSON.parse(text)));
      return answer(status, body);
    }
    answer(404, { error: "not_found", message: "no such route" });
    throw new Error(`request outside the launcher's API: ${what}`);
  }

  #ofSandbox(id: string, method: string, lost: string | null): { status: number; body?: unknown } {
    const sandbox = this.sandboxes.get(id);
    if (method === "DELETE") {
      if (this.keepsSandboxes) {
        return { status: 503, body: { error: "engine_unavailable", message: "The engine is stuck" } };
      }
      if (sandbox !== undefined) {
        sandbox.ended ??= { reason: "killed", exit_code: null };
        sandbox.socket?.destroy();
        this.removed.push(id);
        if (lost !== null) this.lost.set(JSON.stringify(sandbox.info.session), lost);
      }
      return { status: 204 };
    }
    if (sandbox === undefined) {
      return { status: 404, body: { error: "not_found", message: "no such sandbox" } };
    }
    if (method === "GET") return { status: 200, body: this.#info(sandbox) };
    this.askedToSleep += 1;
    if (this.sleeping === "off") {
      return { status: 409, body: { error: "cannot_sleep", message: "checkpoints are off" } };
    }
    sandbox.socket?.destroy();
    if (this.sleeping === "on") sandbox.ended = { reason: "asleep", exit_code: 0 };
    return { status: 200, body: { state: this.sleeping === "on" ? "asleep" : "busy" } };
  }

  #create(spec: CreateSandbox): { status: number; body: unknown } {
    if (this.refusal !== null) return this.refusal;
    if (!this.profiles.includes(spec.profile)) {
      return { status: 400, body: { error: "unknown_profile", message: "no such profile" } };
    }
    if (spec.kind === "session") {
      const same = this.live.find(
        ({ info }) => JSON.stringify(info.session) === JSON.stringify(spec.session),
      );
      if (same !== undefined) {
        const body = { error: "session_exists", message: "it exists", sandbox_id: same.id };
        return { status: 409, body };
      }
    }
    if (this.live.length >= this.capacity) {
      this.refused += 1;
      return { status: 429, body: { error: "host_full", message: "no memory left" } };
    }
    return { status: 201, body: this.#info(this.#make(spec)) };
  }

  /** A session that sleeps wakes, once; one that lost its variables is told why, once. */
  #make(spec: CreateSandbox): SandboxStandIn {
    if (spec.kind === "fresh") return this.add(spec);
    const key = JSON.stringify(spec.session);
    const asleep = this.#dropAsleep(key);
    const made = this.add(spec, asleep !== null);
    if (asleep !== null) {
      made.cells = asleep.cells;
      made.origin = "woken";
    }
    made.lost = this.lost.get(key) ?? null;
    this.lost.delete(key);
    return made;
  }

  /** What was saved of a session is there no more: it was used, or forgotten. */
  #dropAsleep(key: string): SandboxStandIn | null {
    const asleep = [...this.sandboxes.values()].find(
      ({ ended, info }) => ended?.reason === "asleep" && JSON.stringify(info.session) === key,
    );
    if (asleep === undefined) return null;
    asleep.ended = { reason: "killed", exit_code: null };
    return asleep;
  }

  #info(sandbox: SandboxStandIn): Sandbox {
    const { ended, info, lost, origin, socket, used } = sandbox;
    return { ...info, used, attached: socket !== null, ended, lost, origin };
  }

  #attach(request: IncomingMessage, socket: Socket): void {
    const id = /^\/sandboxes\/([A-Za-z0-9_-]{21})\/stream$/.exec(request.url ?? "")?.[1];
    const sandbox = id === undefined ? undefined : this.sandboxes.get(id);
    if (sandbox === undefined || sandbox.ended !== null || request.headers.upgrade !== UPGRADE_PROTOCOL) {
      socket.end(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" +
          JSON.stringify({ error: "not_found", message: "no such sandbox" }),
      );
      return;
    }
    sandbox.socket?.destroy();
    sandbox.socket = socket;
    socket.on("error", () => {});
    socket.on("close", () => {
      if (sandbox.socket === socket) sandbox.socket = null;
    });
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${UPGRADE_PROTOCOL}\r\n\r\n`,
    );
    const decoder = new FrameDecoder();
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of decoder.push(chunk)) {
          this.#receive(sandbox, JSON.parse(frame.header.toString()), Buffer.from(frame.body));
        }
      } catch (error) {
        this.#fail(error);
        socket.destroy();
      }
    });
  }

  #receive(sandbox: SandboxStandIn, message: GatewayMessage, body: Buffer): void {
    sandbox.received.push(message);
    if (message.msg_type !== "hello_request") sandbox.used = true;
    if (message.msg_type === "hello_request" && this.greets) {
      sandbox.send({
        msg_type: "hello_reply",
        parent_id: message.msg_id,
        content: {
          nonce: message.content.nonce,
          protocol_version: 1,
          languages: [
            { id: "py", version: "3.11" },
            { id: "bash", version: "5.2" },
          ],
          executing: sandbox.executing,
          execution_count: sandbox.cells,
        },
      });
      return;
    }
    if (message.msg_type === "execute_request") {
      sandbox.executing = message.msg_id;
      sandbox.language = message.content.language;
      sandbox.lost = null;
    }
    this.script(message, body, sandbox);
  }
}
