/**
 * The conversation with one sandbox's supervisor: frames over the launcher's stream, one call at a time.
 * Everything that arrives is hostile: what is not expected ends the conversation, and its owner removes the sandbox.
 * Here is which message may come when; what is in them is the business of the modules beside this one.
 */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { encodeFrame, FrameError, MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { SandboxMessage } from "../../common/protocol/messages.ts";
import { Deadline } from "./deadline.ts";
import { DisplayCapture } from "./display-capture.ts";
import { executeBody, executeRequest, fitsHeader, tooLargeMessage } from "./execute-request.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { InputTransfer } from "./input-transfer.ts";
import { OutputTransfer } from "./output-transfer.ts";
import type { Message, RunLimits, RunOutput, RunRequest, RunResult } from "./run.ts";
import { StreamCapture } from "./stream-capture.ts";
import { ToolExchange } from "./tool-exchange.ts";
import { Violation } from "./violation.ts";
import {
  type UnpackFailure,
  type WorkspaceRead,
  WorkspaceReader,
  type WorkspaceReading,
  type WorkspaceTransfer,
  WorkspaceWriter,
} from "./workspace-transfer.ts";

export type Hello = Message<"hello_reply">["content"];

const HELLO_TIMEOUT_MS = 30_000;
/** From interrupt to reply: the supervisor's own ladder (SIGINT, then a new kernel) fits in it. */
const INTERRUPT_GRACE_MS = 10_000;
/** Beyond its wall clock a call may take this long for the supervisor's ladder. */
const RUN_GRACE_MS = 10_000;
/** Collecting outputs, all of them. */
const COLLECT_MS = 120_000;
/** Writing inputs, all of them. */
const INPUTS_MS = 300_000;
/** A kernel's death and all that it started; the sandbox is ended where it takes longer. */
const RESTART_MS = 3_000;
/** The whole directory, packed or unpacked; the supervisor gives up earlier. */
const WORKSPACE_MS = 120_000;

export interface ConnectionEnd {
  /** `violation`: the sandbox broke the protocol and must be removed. `released`: closed by this side. */
  readonly why: "closed" | "violation" | "released";
  readonly detail: string;
}

type LostWhy = Extract<RunResult, { kind: "lost" }>["why"];

interface ActiveCall {
  readonly id: string;
  readonly request: RunRequest;
  readonly limits: RunLimits;
  readonly startedAt: number;
  readonly deadline: Deadline;
  readonly streams: StreamCapture;
  /** Null: nobody looks on. */
  readonly displays: DisplayCapture | null;
  /** Null: without inputs, not collected, without tools. */
  readonly inputs: InputTransfer | null;
  readonly outputs: OutputTransfer | null;
  readonly tools: ToolExchange | null;
  readonly done: PromiseWithResolvers<RunResult>;
  phase: "inputs" | "running" | "collecting";
  /** Nobody waits for it any more. */
  interrupted: boolean;
  /** It is to end, and its result is waited for. */
  stopped: boolean;
}

type State = "hello" | "draining" | "idle" | "running" | "ended";

export class KernelConnection {
  readonly sandboxId: string;
  readonly ended: Promise<ConnectionEnd>;
  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #end = Promise.withResolvers<ConnectionEnd>();
  #state: State = "hello";
  #nonce = "";
  #helloDone = Promise.withResolvers<Hello>();
  #orphan: { readonly id: string; readonly done: PromiseWithResolvers<void> } | null = null;
  #call: ActiveCall | null = null;
  #workspace: WorkspaceTransfer | null = null;
  #interrupts = new Set<string>();
  #restart: { readonly id: string; readonly done: (restarted: boolean) => void } | null = null;
  #hello: Hello | null = null;

  private constructor(sandboxId: string, socket: Socket) {
    this.sandboxId = sandboxId;
    this.ended = this.#end.promise;
    this.#socket = socket;
    this.#writer = new FrameWriter(socket);
    this.#reader = new FrameReader({
      socket,
      onMessage: (message, body) => this.#handle(message, body),
      onBroken: (detail) => this.#finish({ why: "violation", detail }),
    });
    this.#helloDone.promise.catch(() => {});
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#reader.receive(chunk));
    socket.on("close", () => this.#finish({ why: "closed", detail: "the sandbox's stream ended" }));
    socket.on("error", () => {});
  }

  /**
   * Says hello on a fresh stream; a call that nobody waits for any more is interrupted first. Rejects when the
   * sandbox does not answer as it should; the stream is closed then.
   */
  static async open(sandboxId: string, socket: Socket, head: Buffer): Promise<KernelConnection> {
    const connection = new KernelConnection(sandboxId, socket);
    try {
      await connection.#greet(head);
      return connection;
    } catch (error) {
      connection.release();
      throw error;
    }
  }

  get languages(): Hello["languages"] {
    return this.#hello?.languages ?? [];
  }

  /** Cells that the kernel had run when this conversation began. */
  get executionCount(): number {
    return this.#hello?.execution_count ?? 0;
  }

  get usable(): boolean {
    return this.#state === "idle";
  }

  /** Lets go of the stream; the sandbox lives on. */
  release(): void {
    this.#finish({ why: "released", detail: "released" });
  }

  /** Runs one call. Never rejects; never called while another call runs. */
  run(request: RunRequest, limits: RunLimits): Promise<RunResult> {
    if (this.#state !== "idle") throw new Error(`a call was given to a ${this.#state} connection`);
    this.#state = "running";
    const call = this.#newCall(request, limits);
    this.#call = call;
    const abort = () => this.#abort(call);
    request.signal.addEventListener("abort", abort, { once: true });
    if (call.inputs === null) this.#execute(call);
    else void this.#writeInputsAndExecute(call, call.inputs);
    if (request.signal.aborted) abort();
    return call.done.promise.finally(() => request.signal.removeEventListener("abort", abort));
  }

  /** Packs the data directory. Never rejects; never called while a call runs. */
  readWorkspace(reading: WorkspaceReading): Promise<WorkspaceRead> {
    return this.#transfer(() => new WorkspaceReader(this.#writer, this.#reader, reading));
  }

  /** Unpacks into the data directory. Never rejects; called before any code runs. */
  writeWorkspace(archive: Readable): Promise<UnpackFailure | null> {
    return this.#transfer(() => new WorkspaceWriter(this.#writer, archive));
  }

  #transfer<T>(begin: () => WorkspaceTransfer & { readonly done: Promise<T> }): Promise<T> {
    return this.#alone("workspace", WORKSPACE_MS, async () => {
      try {
        const transfer = begin();
        this.#workspace = transfer;
        return await transfer.done;
      } finally {
        this.#workspace = null;
      }
    });
  }

  /**
   * The kernel and all that runs beside it are ended; the next call has a new one. False: the conversation ended instead, and the
   * sandbox is to be removed. Never rejects; never called while a call runs.
   */
  restart(): Promise<boolean> {
    return this.#alone("restart", RESTART_MS, async () => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const id = this.#writer.newId();
      this.#restart = { id, done: resolve };
      this.#writer.send({ msg_type: "shutdown_request", msg_id: id, content: { restart: true } });
      try {
        return await promise;
      } finally {
        this.#restart = null;
      }
    });
  }

  /** Something that is no call, while none runs and within its time. */
  async #alone<T>(what: "workspace" | "restart", withinMs: number, work: () => Promise<T>): Promise<T> {
    if (this.#state !== "idle") throw new Error(`a ${what} was asked of a ${this.#state} connection`);
    this.#state = "running";
    const deadline = new Deadline(() =>
      this.#finish({ why: "violation", detail: `no reply within the deadline (${what})` }),
    );
    deadline.set(withinMs);
    try {
      return await work();
    } finally {
      deadline.stop();
      this.#settled();
    }
  }

  /**
   * Asks the running call to end; its variables stay, and what it did so far is its result. One that has not begun
   * ends at once when it begins. False: there is none, or it is over already.
   */
  interrupt(): boolean {
    const call = this.#call;
    if (call === null || call.phase === "collecting") return false;
    if (!call.stopped) {
      call.stopped = true;
      if (call.phase === "running") this.#stop(call);
    }
    return true;
  }

  // ------------------------------------------------------------------ greeting

  async #greet(head: Buffer): Promise<void> {
    this.#nonce = randomBytes(12).toString("base64url");
    const timer = setTimeout(
      () => this.#finish({ why: "violation", detail: `no answer to hello in ${HELLO_TIMEOUT_MS} ms` }),
      HELLO_TIMEOUT_MS,
    );
    try {
      this.#writer.send({
        msg_type: "hello_request",
        msg_id: this.#writer.newId(),
        content: { nonce: this.#nonce },
      });
      if (head.length > 0) this.#reader.receive(head);
      const hello = await this.#helloDone.promise;
      this.#hello = hello;
      if (this.#orphan !== null) {
        // The call outlived the gateway that asked for it.
        this.#interrupt(this.#orphan.id, { wanted: false });
        await this.#orphan.done.promise;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #onHello(message: Message<"hello_reply">): void {
    if (this.#state !== "hello" || message.content.nonce !== this.#nonce) {
      throw new Violation("hello_reply that was not asked for");
    }
    if (message.content.executing === null) {
      this.#state = "idle";
    } else {
      this.#state = "draining";
      this.#orphan = { id: message.content.executing, done: Promise.withResolvers<void>() };
      this.#orphan.done.promise.catch(() => {});
    }
    this.#helloDone.resolve(message.content);
  }

  // ------------------------------------------------------------------ asking

  #newCall(request: RunRequest, limits: RunLimits): ActiveCall {
    const { inputs, onShown, onToolCalls, outputs } = request;
    const deadline = new Deadline(() => this.#onDeadline(call));
    const tools =
      onToolCalls === undefined
        ? null
        : new ToolExchange({
            onToolCalls,
            writer: this.#writer,
            deadline,
            onFailure: () => this.#abort(call),
            onViolation: ({ message }) => this.#finish({ why: "violation", detail: message }),
          });
    const call: ActiveCall = {
      id: this.#writer.newId(),
      request,
      limits,
      startedAt: performance.now(),
      deadline,
      streams: new StreamCapture(limits, request.onStream),
      displays: onShown === undefined ? null : new DisplayCapture(onShown),
      inputs: inputs.length === 0 ? null : new InputTransfer(this.#writer, request),
      outputs: outputs === null ? null : new OutputTransfer(outputs, limits.collect, this.#reader),
      tools,
      done: Promise.withResolvers<RunResult>(),
      phase: "inputs",
      interrupted: false,
      stopped: false,
    };
    return call;
  }

  async #writeInputsAndExecute(call: ActiveCall, inputs: InputTransfer): Promise<void> {
    // Known beforehand: nothing is written for a run that cannot be asked for.
    const header = executeRequest(call.id, call.request, call.limits);
    if (!fitsHeader(header)) {
      this.#settle(call, { kind: "too_large", message: tooLargeMessage(header) });
      return;
    }
    call.deadline.set(INPUTS_MS);
    const failed = await inputs.write(call.request.inputs);
    if (this.#call !== call) return;
    if (call.request.signal.aborted) this.#settle(call, { kind: "cancelled" });
    else if (failed !== null) this.#settle(call, { kind: "input_failed", ...failed });
    else this.#execute(call);
  }

  #execute(call: ActiveCall): void {
    const body = executeBody(call.request);
    const first = body.length > MAX_BODY_BYTES ? body.subarray(0, MAX_BODY_BYTES) : body;
    const header = executeRequest(call.id, call.request, call.limits);
    let frame: Buffer;
    try {
      frame = encodeFrame(header, first);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#settle(call, { kind: "too_large", message: tooLargeMessage(header) });
      return;
    }
    if (call.request.mayRun?.() === false) {
      this.#settle(call, { kind: "fenced" });
      return;
    }
    call.phase = "running";
    call.deadline.set(call.request.timeoutMs + RUN_GRACE_MS);
    this.#writer.sendFrame(frame);
    if (body.length > MAX_BODY_BYTES) void this.#writer.sendRest(call.id, body);
    call.request.onRunning?.();
    if (call.stopped) this.#stop(call);
  }

  #stop(call: ActiveCall): void {
    this.#hurry(call);
    this.#interrupt(call.id, { wanted: true });
  }

  #hurry(call: ActiveCall): void {
    call.tools?.abandon();
    call.deadline.set(INTERRUPT_GRACE_MS);
  }

  /** `wanted`: the caller still waits for the result. */
  #interrupt(callId: string, { wanted }: { readonly wanted: boolean }): void {
    const id = this.#writer.newId();
    this.#interrupts.add(id);
    this.#writer.send({ msg_type: "interrupt_request", msg_id: id, parent_id: callId, content: { wanted } });
  }

  #onDeadline(call: ActiveCall): void {
    this.#finish(
      { why: "violation", detail: `no reply within the deadline (${call.phase})` },
      { why: "deadline", detail: "the supervisor let the deadline pass" },
    );
  }

  #abort(call: ActiveCall): void {
    if (this.#call !== call || call.interrupted) return;
    call.interrupted = true;
    if (call.phase === "inputs") {
      call.inputs?.abort();
      return;
    }
    if (call.phase === "running" && !call.stopped) this.#hurry(call);
    // While collecting, the rest is drained unwanted, which is quick.
    this.#interrupt(call.id, { wanted: false });
  }

  // ------------------------------------------------------------------ hearing

  #handle(message: SandboxMessage, body: Buffer): void {
    if (message.msg_type === "hello_reply") {
      this.#onHello(message);
    } else if (this.#state === "hello") {
      // Leftovers of a call from before this conversation; they end with its reply.
    } else if (message.msg_type === "interrupt_reply") {
      if (!this.#interrupts.delete(message.parent_id)) throw new Violation("interrupt_reply to nothing");
    } else if (this.#state === "draining") {
      if (message.msg_type !== "execute_reply" || message.parent_id !== this.#orphan?.id) return;
      this.#state = "idle";
      this.#orphan.done.resolve();
    } else if (this.#restart !== null) {
      if (message.msg_type !== "shutdown_reply" || message.parent_id !== this.#restart.id)
        throw new Violation(`${message.msg_type} within a restart`);
      this.#restart.done(true);
    } else if (this.#workspace !== null) {
      this.#workspace.handle(message, body);
    } else if (this.#call === null) {
      throw new Violation(`${message.msg_type} while no call runs`);
    } else {
      this.#handleInCall(this.#call, message, body);
    }
  }

  #handleInCall(call: ActiveCall, message: SandboxMessage, body: Buffer): void {
    if (message.msg_type === "file_write_reply") {
      if (call.inputs === null) throw new Violation("file_write_reply to nothing");
      call.inputs.onReply(message);
      return;
    }
    if (call.phase === "inputs") throw new Violation(`${message.msg_type} before the code runs`);
    if (message.msg_type === "chunk") {
      if (call.tools?.onChunk(message, body) === true) return;
      if (call.outputs === null) throw new Violation("chunk of nothing");
      call.outputs.onChunk(message, body);
      return;
    }
    if (message.parent_id !== call.id) throw new Violation(`${message.msg_type} of another call`);
    if (message.msg_type === "stream") {
      call.streams.onStream(message, body);
      return;
    }
    if (message.msg_type === "display_data" && call.phase === "running") {
      if (call.displays === null) throw new Violation("display_data that was not asked for");
      call.displays.onDisplay(message, body);
      return;
    }
    if (call.outputs?.open === true || call.tools?.open === true) {
      throw new Violation(`${message.msg_type} within a transfer`);
    }
    switch (message.msg_type) {
      case "execute_reply":
        this.#settle(call, { kind: "replied", reply: message.content, ...this.#output(call) });
        break;
      case "file_output":
        this.#onFile(call, message);
        break;
      case "tool_call_request":
        if (call.tools === null) throw new Violation("tool_call_request without tools");
        call.tools.begin(message, body);
        break;
      default:
        throw new Violation(`${message.msg_type} within a call`);
    }
  }

  #onFile(call: ActiveCall, message: Message<"file_output">): void {
    if (call.outputs === null) throw new Violation("file_output that was not asked for");
    if (call.phase !== "collecting") {
      call.phase = "collecting";
      // The program is over; what it still waited for must not shorten the time for its files.
      call.tools?.abandon();
      call.deadline.set(COLLECT_MS);
    }
    call.outputs.begin(message, call.interrupted);
  }

  // ------------------------------------------------------------------ ends

  #output(call: ActiveCall): RunOutput {
    return { ...call.streams.text(), undelivered: call.outputs?.undelivered ?? [] };
  }

  #settle(call: ActiveCall, result: RunResult): void {
    call.deadline.stop();
    call.tools?.abandon();
    this.#call = null;
    this.#settled();
    call.done.resolve(result);
  }

  #settled(): void {
    if (this.#state === "running") this.#state = "idle";
  }

  /** The one end of the conversation, whoever caused it. */
  #finish(end: ConnectionEnd, lost?: { readonly why: LostWhy; readonly detail: string }): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#reader.stop();
    this.#socket.destroy();
    const gone = new Error(end.detail);
    this.#helloDone.reject(gone);
    this.#orphan?.done.reject(gone);
    this.#workspace?.end(gone);
    this.#restart?.done(false);
    const call = this.#call;
    if (call !== null) {
      call.inputs?.end(end.detail);
      call.outputs?.end(gone);
      this.#settle(call, {
        kind: "lost",
        why: lost?.why ?? end.why,
        detail: lost?.detail ?? end.detail,
        executing: call.phase !== "inputs",
        elapsedMs: performance.now() - call.startedAt,
        ...this.#output(call),
      });
    }
    this.#end.resolve(end);
  }
}
