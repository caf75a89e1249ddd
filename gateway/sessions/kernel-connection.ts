/**
 * The conversation with one sandbox's supervisor: frames over the launcher's stream, one call at a time.
 * Everything that arrives is hostile: what is not expected ends the conversation, and its owner removes the sandbox.
 */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import type { InputFile, OutputSink, ToolCall, ToolResult } from "../execution/call.ts";
import { encodeFrame, FrameDecoder, FrameError, MAX_BODY_BYTES, type RawFrame } from "../protocol/frames.ts";
import {
  type CollectRules,
  type ExecuteRequest,
  type GatewayMessage,
  parseSandboxMessage,
  type SandboxMessage,
  type ToolDeclaration,
} from "../protocol/messages.ts";
import { OutputBuffer } from "./output-buffer.ts";

type Message<T extends SandboxMessage["msg_type"]> = Extract<SandboxMessage, { msg_type: T }>;
export type ExecuteReply = Message<"execute_reply">["content"];
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
/** Output beyond its limit is thrown away; this much more, and the supervisor is not ours any more. */
const EXCESS_OUTPUT_BYTES = 8 * 1024 * 1024;
/** A frame's share of a long text or file. */
const CHUNK_BYTES = 256 * 1024;
/** JSON of one batch of tool calls. */
const MAX_TOOL_CALLS_BYTES = 5 * 1024 * 1024;
const MAX_UNDELIVERED = 256;

const ToolCalls = z
  .array(z.object({ id: z.string().regex(/^call_\d{3,6}$/), name: z.string().max(256), input: z.unknown() }))
  .min(1)
  .max(200);

export interface RunRequest {
  readonly language: string;
  readonly code: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly stdoutLimit: number;
  readonly stderrLimit: number;
  readonly inputs: readonly InputFile[];
  readonly collect: { readonly rules: Omit<CollectRules, "inputs">; readonly sink: OutputSink } | null;
  readonly tools?: readonly ToolDeclaration[] | undefined;
  readonly onToolCalls?: ((calls: readonly ToolCall[]) => Promise<readonly ToolResult[]>) | undefined;
  readonly onStream?: ((name: "stdout" | "stderr", bytes: Buffer) => void) | undefined;
  readonly signal: AbortSignal;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutCut: boolean;
  readonly stderrCut: boolean;
  readonly undelivered: readonly { readonly path: string; readonly message: string }[];
}

export type RunResult =
  | ({ readonly kind: "replied"; readonly reply: ExecuteReply } & Output)
  /** The sandbox did not reply: its stream ended, it lied, or it let the deadline pass. */
  | ({
      readonly kind: "lost";
      readonly why: "closed" | "violation" | "deadline";
      readonly detail: string;
      readonly executing: boolean;
      readonly elapsedMs: number;
    } & Output)
  | { readonly kind: "input_failed"; readonly path: string; readonly message: string }
  /** Given up before the code ran; the kernel is untouched. */
  | { readonly kind: "cancelled" };

export interface ConnectionEnd {
  /** `violation`: the sandbox broke the protocol and must be removed. `released`: closed by this side. */
  readonly why: "closed" | "violation" | "released";
  readonly detail: string;
}

interface IncomingFile {
  readonly id: string;
  readonly path: string;
  readonly size: number;
  readonly body: Readable;
  received: number;
  /** The sink is done with it, one way or the other: what still comes is dropped. */
  settled: boolean;
}

interface IncomingCalls {
  readonly id: string;
  readonly bytes: number;
  readonly chunks: Buffer[];
  received: number;
}

interface ActiveCall {
  readonly id: string;
  readonly request: RunRequest;
  readonly startedAt: number;
  readonly stdout: OutputBuffer;
  readonly stderr: OutputBuffer;
  readonly undelivered: { path: string; message: string }[];
  readonly done: PromiseWithResolvers<RunResult>;
  phase: "inputs" | "running" | "collecting";
  /** The input that is being read. */
  source: Readable | null;
  file: IncomingFile | null;
  calls: IncomingCalls | null;
  /** Set while a tool call is out: what was left of the deadline. */
  pausedWithMs: number | null;
  deadlineAt: number;
  deadline: NodeJS.Timeout;
  interrupted: boolean;
}

type State = "hello" | "draining" | "idle" | "running" | "ended";

class Violation extends Error {
  override readonly name = "Violation";
}

function* pieces(bytes: Buffer, from: number): Generator<Buffer> {
  for (let at = from; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

export class KernelConnection {
  readonly sandboxId: string;
  readonly ended: Promise<ConnectionEnd>;
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  readonly #prefix = randomBytes(9).toString("base64url");
  readonly #end = Promise.withResolvers<ConnectionEnd>();
  #frames: RawFrame[] = [];
  /** Reading stands still: the consumer of a file is behind (`room`), or has yet to say that it has it (`sink`). */
  #blocked: "room" | "sink" | null = null;
  #state: State = "hello";
  #sequence = 0;
  #nonce = "";
  #helloDone = Promise.withResolvers<Hello>();
  #orphan: { readonly id: string; readonly done: PromiseWithResolvers<void> } | null = null;
  #call: ActiveCall | null = null;
  #writes = new Map<string, PromiseWithResolvers<string | null>>();
  #interrupts = new Set<string>();
  #hello: Hello | null = null;

  private constructor(sandboxId: string, socket: Socket) {
    this.sandboxId = sandboxId;
    this.ended = this.#end.promise;
    this.#socket = socket;
    this.#helloDone.promise.catch(() => {});
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
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
  run(request: RunRequest): Promise<RunResult> {
    if (this.#state !== "idle") throw new Error(`a call was given to a ${this.#state} connection`);
    this.#state = "running";
    const call: ActiveCall = {
      id: this.#newId(),
      request,
      startedAt: performance.now(),
      stdout: new OutputBuffer(request.stdoutLimit),
      stderr: new OutputBuffer(request.stderrLimit),
      undelivered: [],
      done: Promise.withResolvers<RunResult>(),
      phase: "inputs",
      source: null,
      file: null,
      calls: null,
      pausedWithMs: null,
      deadlineAt: 0,
      deadline: setTimeout(() => {}, 0),
      interrupted: false,
    };
    this.#call = call;
    const abort = () => this.#abort(call);
    request.signal.addEventListener("abort", abort, { once: true });
    if (request.inputs.length === 0) this.#execute(call);
    else void this.#writeInputsAndExecute(call);
    if (request.signal.aborted) abort();
    return call.done.promise.finally(() => request.signal.removeEventListener("abort", abort));
  }

  // ------------------------------------------------------------------ greeting

  async #greet(head: Buffer): Promise<void> {
    this.#nonce = randomBytes(12).toString("base64url");
    const timer = setTimeout(
      () => this.#finish({ why: "violation", detail: `no answer to hello in ${HELLO_TIMEOUT_MS} ms` }),
      HELLO_TIMEOUT_MS,
    );
    try {
      this.#send({ msg_type: "hello_request", msg_id: this.#newId(), content: { nonce: this.#nonce } });
      if (head.length > 0) this.#receive(head);
      const hello = await this.#helloDone.promise;
      this.#hello = hello;
      if (this.#orphan !== null) {
        // The call outlived the gateway that asked for it.
        this.#interrupt(this.#orphan.id);
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

  // ------------------------------------------------------------------ sending

  #newId(): string {
    this.#sequence += 1;
    return `${this.#prefix}-${this.#sequence}`;
  }

  /** False: the stream is full, wait for `#drained` before sending more. */
  #send(message: GatewayMessage, body?: Uint8Array): boolean {
    return this.#socket.write(encodeFrame(message, body));
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        this.#socket.off("drain", go);
        this.#socket.off("close", go);
        resolve();
      };
      if (this.#socket.destroyed || !this.#socket.writableNeedDrain) return resolve();
      this.#socket.on("drain", go);
      this.#socket.on("close", go);
    });
  }

  #interrupt(callId: string): void {
    const id = this.#newId();
    this.#interrupts.add(id);
    this.#send({ msg_type: "interrupt_request", msg_id: id, parent_id: callId });
  }

  async #sendRest(parentId: string, bytes: Buffer): Promise<void> {
    for (const piece of pieces(bytes, MAX_BODY_BYTES)) {
      if (this.#state === "ended") return;
      if (!this.#send({ msg_type: "chunk", parent_id: parentId }, piece)) await this.#drained();
    }
  }

  #execute(call: ActiveCall): void {
    const { request } = call;
    const code = Buffer.from(request.code);
    const first = code.length > MAX_BODY_BYTES ? code.subarray(0, MAX_BODY_BYTES) : code;
    let frame: Buffer;
    try {
      frame = encodeFrame(this.#executeRequest(call, code.length), first);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      const message = "the names of all files, tools and arguments together are too long";
      this.#settle(call, { kind: "input_failed", path: "*", message });
      return;
    }
    call.phase = "running";
    this.#setDeadline(call, request.timeoutMs + RUN_GRACE_MS);
    this.#socket.write(frame);
    if (code.length > MAX_BODY_BYTES) void this.#sendRest(call.id, code);
  }

  #executeRequest({ id, request }: ActiveCall, codeBytes: number): ExecuteRequest {
    return {
      msg_type: "execute_request",
      msg_id: id,
      content: {
        language: request.language,
        args: request.args,
        code_bytes: codeBytes,
        timeout_ms: request.timeoutMs,
        stdout_limit: request.stdoutLimit,
        stderr_limit: request.stderrLimit,
        collect:
          request.collect === null
            ? undefined
            : { ...request.collect.rules, inputs: request.inputs.map((input) => input.path) },
        tools: request.tools,
      },
    };
  }

  async #writeInputsAndExecute(call: ActiveCall): Promise<void> {
    this.#setDeadline(call, INPUTS_MS);
    const failed = await this.#writeInputs(call);
    if (this.#call !== call) return;
    if (call.request.signal.aborted) this.#settle(call, { kind: "cancelled" });
    else if (failed !== null) this.#settle(call, { kind: "input_failed", ...failed });
    else this.#execute(call);
  }

  /** The first input that could not be written. Every write is answered before this resolves. */
  async #writeInputs(call: ActiveCall): Promise<{ path: string; message: string } | null> {
    const answers: Promise<{ path: string; message: string } | null>[] = [];
    let failed: { path: string; message: string } | null = null;
    for (const input of call.request.inputs) {
      if (failed !== null || call.request.signal.aborted || this.#call !== call) break;
      const id = this.#newId();
      const answer = Promise.withResolvers<string | null>();
      this.#writes.set(id, answer);
      answers.push(
        answer.promise.then((message) => {
          if (message === null) return null;
          failed ??= { path: input.path, message };
          return failed;
        }),
      );
      const broken = await this.#writeInput(call, id, input);
      if (broken !== null) failed ??= { path: input.path, message: broken };
    }
    await Promise.all(answers);
    return failed;
  }

  /** Why the source failed, or null. */
  async #writeInput(call: ActiveCall, id: string, input: InputFile): Promise<string | null> {
    this.#send({
      msg_type: "file_write_request",
      msg_id: id,
      content: { path: input.path, size: input.size, read_only: input.readOnly },
    });
    const source = input.open();
    call.source = source;
    try {
      for await (const value of source) {
        const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
        for (const piece of pieces(bytes, 0)) {
          if (this.#call !== call) return null;
          if (call.request.signal.aborted) throw new Error("the caller hung up");
          if (!this.#send({ msg_type: "chunk", parent_id: id }, piece)) await this.#drained();
        }
      }
      this.#send({ msg_type: "chunk", parent_id: id, content: { last: true } });
      return null;
    } catch (error) {
      this.#send({ msg_type: "chunk", parent_id: id, content: { aborted: true } });
      return error instanceof Error ? error.message : String(error);
    } finally {
      source.destroy();
      call.source = null;
    }
  }

  // ------------------------------------------------------------------ deadlines

  #setDeadline(call: ActiveCall, ms: number): void {
    clearTimeout(call.deadline);
    call.deadlineAt = performance.now() + ms;
    call.deadline = setTimeout(() => this.#onDeadline(call), ms);
  }

  #onDeadline(call: ActiveCall): void {
    if (this.#call !== call) return;
    this.#finish(
      { why: "violation", detail: `no reply within the deadline (${call.phase})` },
      { why: "deadline", detail: "the supervisor let the deadline pass" },
    );
  }

  #abort(call: ActiveCall): void {
    if (this.#call !== call || call.interrupted) return;
    call.interrupted = true;
    // While collecting, the rest is drained unwanted, which is quick.
    if (call.phase === "inputs") {
      call.source?.destroy(new Error("the caller hung up"));
    } else if (call.phase === "running") {
      call.pausedWithMs = null;
      this.#setDeadline(call, INTERRUPT_GRACE_MS);
      this.#interrupt(call.id);
    }
  }

  // ------------------------------------------------------------------ receiving

  #receive(chunk: Buffer): void {
    if (this.#state === "ended") return;
    try {
      for (const frame of this.#decoder.push(chunk)) this.#frames.push(frame);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.#finish({ why: "violation", detail });
      return;
    }
    this.#pump();
    if (this.#blocked !== null) this.#socket.pause();
  }

  #pump(): void {
    const frames = this.#frames;
    let next = 0;
    try {
      while (next < frames.length && this.#blocked === null && this.#state !== "ended") {
        const frame = frames[next];
        next += 1;
        if (frame === undefined) break;
        const message = parseSandboxMessage(frame.header);
        if (message === null) throw new Violation("a message that is not of the protocol");
        this.#handle(message, frame.body);
      }
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.#finish({ why: "violation", detail });
      return;
    }
    this.#frames = next >= frames.length ? [] : frames.slice(next);
  }

  #unblock(by: "room" | "sink"): void {
    // The sink's last word also ends a wait for room.
    if (this.#blocked === null || (by === "room" && this.#blocked === "sink")) return;
    if (this.#state === "ended") return;
    this.#blocked = null;
    this.#pump();
    if (this.#blocked === null) this.#socket.resume();
  }

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
    } else if (this.#call === null) {
      throw new Violation(`${message.msg_type} while no call runs`);
    } else {
      this.#handleInCall(this.#call, message, body);
    }
  }

  #handleInCall(call: ActiveCall, message: SandboxMessage, body: Buffer): void {
    if (message.msg_type === "file_write_reply") {
      this.#onWriteReply(message);
      return;
    }
    if (call.phase === "inputs") throw new Violation(`${message.msg_type} before the code runs`);
    if (message.msg_type === "chunk") {
      this.#onChunk(call, message, body);
      return;
    }
    if (message.parent_id !== call.id) throw new Violation(`${message.msg_type} of another call`);
    switch (message.msg_type) {
      case "stream":
        this.#onStream(call, message, body);
        break;
      case "execute_reply":
        this.#onReply(call, message);
        break;
      case "file_output":
        this.#onFile(call, message);
        break;
      case "tool_call_request":
        this.#onToolCalls(call, message, body);
        break;
      default:
        throw new Violation(`${message.msg_type} within a call`);
    }
  }

  #onStream(call: ActiveCall, message: Message<"stream">, body: Buffer): void {
    const { name } = message.content;
    const buffer = name === "stdout" ? call.stdout : call.stderr;
    const limit = name === "stdout" ? call.request.stdoutLimit : call.request.stderrLimit;
    buffer.push(body);
    if (buffer.received > limit * 4 + EXCESS_OUTPUT_BYTES)
      throw new Violation(`${name} far beyond its limit`);
    call.request.onStream?.(name, body);
  }

  #onReply(call: ActiveCall, message: Message<"execute_reply">): void {
    if (call.file !== null || call.calls !== null) throw new Violation("execute_reply within a transfer");
    this.#settle(call, { kind: "replied", reply: message.content, ...this.#output(call) });
  }

  #onWriteReply(message: Message<"file_write_reply">): void {
    const answer = this.#writes.get(message.parent_id);
    if (answer === undefined) throw new Violation("file_write_reply to nothing");
    this.#writes.delete(message.parent_id);
    answer.resolve(message.content.status === "ok" ? null : (message.content.message ?? "cannot be written"));
  }

  #onFile(call: ActiveCall, message: Message<"file_output">): void {
    const collect = call.request.collect;
    if (collect === null) throw new Violation("file_output that was not asked for");
    if (call.file !== null || call.calls !== null) throw new Violation("file_output within a transfer");
    const { path, size, change } = message.content;
    if (size > collect.rules.max_file_bytes) throw new Violation("file_output beyond its limit");
    if (call.phase !== "collecting") {
      call.phase = "collecting";
      this.#setDeadline(call, COLLECT_MS);
    }
    const body = new Readable({ read: () => this.#unblock("room"), highWaterMark: MAX_BODY_BYTES });
    body.on("error", () => {});
    const file: IncomingFile = { id: message.msg_id, path, size, body, received: 0, settled: false };
    call.file = file;
    const settled = (problem: string | null) => {
      if (problem !== null && call.undelivered.length < MAX_UNDELIVERED) {
        call.undelivered.push({ path, message: problem });
      }
      file.settled = true;
      body.destroy();
      this.#unblock("sink");
    };
    if (call.interrupted) {
      settled(null);
      return;
    }
    collect.sink.accept({ path, size, change }, body).then(
      () => settled(null),
      (error: unknown) => settled(error instanceof Error ? error.message : String(error)),
    );
  }

  #onChunk(call: ActiveCall, message: Message<"chunk">, body: Buffer): void {
    if (call.calls !== null && message.parent_id === call.calls.id) {
      this.#addToolCalls(call, call.calls, body);
      return;
    }
    const file = call.file;
    if (file === null || message.parent_id !== file.id) throw new Violation("chunk of nothing");
    file.received += body.length;
    if (file.received > file.size) throw new Violation("a file longer than announced");
    if (!file.settled && body.length > 0 && !file.body.push(body)) this.#blocked = "room";
    const aborted = message.content?.aborted === true;
    if (!aborted && message.content?.last !== true) return;
    call.file = null;
    if (file.settled) return;
    if (aborted || file.received !== file.size) {
      file.body.destroy(new Error("the file changed while it was read"));
    } else {
      file.body.push(null);
    }
    // The next message waits until the sink has the file for good.
    this.#blocked = "sink";
  }

  #onToolCalls(call: ActiveCall, message: Message<"tool_call_request">, body: Buffer): void {
    if (call.request.onToolCalls === undefined) throw new Violation("tool_call_request without tools");
    if (call.file !== null || call.calls !== null || call.pausedWithMs !== null) {
      throw new Violation("tool_call_request within a transfer");
    }
    if (message.content.calls_bytes > MAX_TOOL_CALLS_BYTES)
      throw new Violation("tool calls beyond their limit");
    call.calls = { id: message.msg_id, bytes: message.content.calls_bytes, chunks: [], received: 0 };
    this.#addToolCalls(call, call.calls, body);
  }

  #addToolCalls(call: ActiveCall, calls: IncomingCalls, body: Buffer): void {
    calls.chunks.push(body);
    calls.received += body.length;
    if (calls.received > calls.bytes) throw new Violation("tool calls longer than announced");
    if (calls.received < calls.bytes) return;
    call.calls = null;
    let value: unknown;
    try {
      value = JSON.parse(Buffer.concat(calls.chunks).toString("utf8"));
    } catch {
      throw new Violation("tool calls that are not JSON");
    }
    const parsed = ToolCalls.safeParse(value);
    if (!parsed.success) throw new Violation("tool calls that are not of the protocol");
    void this.#answerToolCalls(call, calls.id, parsed.data);
  }

  async #answerToolCalls(call: ActiveCall, requestId: string, calls: readonly ToolCall[]): Promise<void> {
    call.pausedWithMs = Math.max(0, call.deadlineAt - performance.now());
    clearTimeout(call.deadline);
    let results: readonly ToolResult[];
    try {
      results = (await call.request.onToolCalls?.(calls)) ?? [];
    } catch {
      if (this.#call === call) this.#abort(call);
      return;
    }
    if (this.#call !== call || call.pausedWithMs === null) return;
    this.#setDeadline(call, call.pausedWithMs);
    call.pausedWithMs = null;
    const bytes = Buffer.from(JSON.stringify(results));
    const id = this.#newId();
    this.#send(
      { msg_type: "tool_reply", msg_id: id, parent_id: requestId, content: { results_bytes: bytes.length } },
      bytes.subarray(0, MAX_BODY_BYTES),
    );
    await this.#sendRest(id, bytes);
  }

  // ------------------------------------------------------------------ ends

  #output(call: ActiveCall): Output {
    const stdout = call.stdout.text();
    const stderr = call.stderr.text();
    return {
      stdout: stdout.text,
      stderr: stderr.text,
      stdoutCut: stdout.cut,
      stderrCut: stderr.cut,
      undelivered: call.undelivered,
    };
  }

  #settle(call: ActiveCall, result: RunResult): void {
    clearTimeout(call.deadline);
    this.#call = null;
    if (this.#state === "running") this.#state = "idle";
    call.done.resolve(result);
  }

  /** The one end of the conversation, whoever caused it. */
  #finish(
    end: ConnectionEnd,
    lost?: { readonly why: "closed" | "violation" | "deadline"; readonly detail: string },
  ): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#frames = [];
    this.#socket.destroy();
    const gone = new Error(end.detail);
    this.#helloDone.reject(gone);
    this.#orphan?.done.reject(gone);
    for (const answer of this.#writes.values()) answer.resolve(end.detail);
    this.#writes.clear();
    const call = this.#call;
    if (call !== null) {
      call.file?.body.destroy(gone);
      this.#settle(call, {
        kind: "lost",
        why: lost?.why ?? (end.why === "violation" ? "violation" : "closed"),
        detail: lost?.detail ?? end.detail,
        executing: call.phase !== "inputs",
        elapsedMs: performance.now() - call.startedAt,
        ...this.#output(call),
      });
    }
    this.#end.resolve(end);
  }
}
