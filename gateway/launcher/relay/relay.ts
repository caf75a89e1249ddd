/**
 * Passes frames between the gateway and one sandbox, and keeps the frame boundary whatever the gateway does:
 * towards the sandbox only whole frames go, a half-sent one is dropped; from the sandbox frames go on as they come, and
 * while no gateway is attached they are read and dropped. Bytes are never copied, and after the first `execute_request`
 * no header is parsed.
 *
 * Any frame but a hello makes a sandbox used, before it is passed on: an input alone is somebody's already.
 */
import type { Duplex } from "node:stream";
import {
  encodeFrame,
  FrameDecoder,
  FrameError,
  MAX_HEADER_BYTES,
  PREFIX_BYTES,
} from "../../common/protocol/frames.ts";
import {
  type GatewayMessage,
  parseSandboxMessage,
  type SandboxMessage,
} from "../../common/protocol/messages.ts";
import { countTransfer } from "../../common/transfer-memory.ts";
import { DemultiplexError, Demultiplexer } from "../engine/demultiplexer.ts";
import { FrameBoundary, WholeFrames } from "./frame-boundary.ts";
import { HelloSearch } from "./hello.ts";

export interface RelayHooks {
  /** Before the first frame that is no `hello_request` is passed on. */
  firstUse(): void;
  /** Before the first `execute_request` is passed on. */
  firstExecute(): void;
  /** A gateway came or went. */
  attachedChanged(attached: boolean): void;
  /** The sandbox sent something that is no frame, or the engine something that is no attach stream. */
  broken(message: string): void;
  /** The stream to the sandbox has ended; nothing follows. */
  ended(): void;
  /** The supervisor's own diagnostics. */
  diagnostics(slice: Buffer): void;
}

interface Gateway {
  readonly socket: Duplex;
  readonly frames: WholeFrames;
  /** The stream towards this gateway stands on a frame boundary or inside a frame whose start it has seen. */
  aligned: boolean;
}

interface Question {
  readonly frames: FrameDecoder;
  hear(message: SandboxMessage): void;
  giveUp(): void;
}

export class Relay {
  readonly #sandbox: Duplex;
  readonly #hooks: RelayHooks;
  readonly #demultiplexer: Demultiplexer;
  #fromSandbox = new FrameBoundary();
  #gateway: Gateway | null = null;
  #search: { readonly hello: HelloSearch; readonly finish: (answered: boolean) => void } | null = null;
  #question: Question | null = null;
  #used: boolean;
  /** An `execute_request` has passed here. */
  #executed = false;
  #over = false;

  constructor(sandbox: Duplex, hooks: RelayHooks, used = false) {
    this.#sandbox = sandbox;
    this.#hooks = hooks;
    this.#used = used;
    this.#demultiplexer = new Demultiplexer({
      stdout: (slice) => this.#fromStdout(slice),
      stderr: (slice) => this.#hooks.diagnostics(slice),
    });
    sandbox.on("data", (chunk: Buffer) => this.#sandboxData(chunk));
    sandbox.on("drain", () => this.#resumeGateway());
    sandbox.on("error", () => this.#finish());
    sandbox.on("end", () => this.#finish());
    sandbox.on("close", () => this.#finish());
  }

  get attached(): boolean {
    return this.#gateway !== null;
  }

  get used(): boolean {
    return this.#used;
  }

  /** The gateway's socket takes over from any other; `head` is what it has sent already. */
  attach(socket: Duplex, head: Buffer): void {
    this.#release(this.#gateway, true);
    if (this.#over) {
      socket.destroy();
      return;
    }
    const gateway: Gateway = { socket, frames: new WholeFrames(), aligned: this.#fromSandbox.reached };
    this.#gateway = gateway;
    const gone = () => {
      if (this.#gateway === gateway) this.#release(gateway, true);
    };
    socket.on("error", gone);
    socket.on("end", gone);
    socket.on("close", gone);
    socket.on("drain", () => {
      if (this.#gateway === gateway) this.#sandbox.resume();
    });
    socket.on("data", (chunk: Buffer) => {
      countTransfer(chunk.length);
      if (this.#gateway === gateway) this.#gatewayData(gateway, chunk);
    });
    this.#sandbox.resume();
    this.#hooks.attachedChanged(true);
    if (this.#sandbox.writableNeedDrain) socket.pause();
    if (head.length > 0) this.#gatewayData(gateway, head);
  }

  /** Ends the gateway's stream, if there is one; the sandbox's goes on. */
  detach(): void {
    this.#release(this.#gateway, false);
  }

  /** Says hello itself; false when no answer came in time. Only while no gateway is attached. */
  probe(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const hello = new HelloSearch();
      const finish = (answered: boolean) => {
        clearTimeout(timer);
        this.#search = null;
        resolve(answered);
      };
      const timer = setTimeout(() => finish(false), timeoutMs);
      this.#search = { hello, finish };
      if (this.#over) finish(false);
      else this.#sandbox.write(hello.request);
    });
  }

  /**
   * Asks the supervisor something of the launcher's own; null when no answer came in time. Only while no gateway is
   * attached, and where both streams stand between two frames.
   */
  ask<T extends SandboxMessage["msg_type"]>(
    message: Extract<GatewayMessage, { msg_id: string }>,
    reply: T,
    withinMs: number,
  ): Promise<Extract<SandboxMessage, { msg_type: T }> | null> {
    type Answer = Extract<SandboxMessage, { msg_type: T }>;
    const isIt = (heard: SandboxMessage): heard is Answer =>
      heard.msg_type === reply && "parent_id" in heard && heard.parent_id === message.msg_id;
    return new Promise((resolve) => {
      const finish = (answer: Answer | null) => {
        clearTimeout(timer);
        this.#question = null;
        resolve(answer);
      };
      const timer = setTimeout(() => finish(null), withinMs);
      this.#question = {
        frames: new FrameDecoder(),
        hear: (heard) => {
          if (isIt(heard)) finish(heard);
        },
        giveUp: () => finish(null),
      };
      if (this.#over || this.#gateway !== null || !this.#fromSandbox.reached) finish(null);
      else this.#sandbox.write(encodeFrame(message));
    });
  }

  /** Ends the gateway's stream and lets go of the sandbox's. */
  close(): void {
    this.#over = true;
    this.#search?.finish(false);
    this.#question?.giveUp();
    this.#release(this.#gateway, false);
    this.#sandbox.destroy();
  }

  #sandboxData(chunk: Buffer): void {
    if (this.#over) return;
    countTransfer(chunk.length);
    const socket = this.#gateway?.socket;
    socket?.cork();
    try {
      this.#demultiplexer.push(chunk);
    } catch (error) {
      if (!(error instanceof FrameError || error instanceof DemultiplexError)) throw error;
      this.#over = true;
      this.#hooks.broken(error.message);
    } finally {
      socket?.uncork();
    }
    if (socket?.writableNeedDrain === true && this.#gateway?.socket === socket) this.#sandbox.pause();
  }

  #fromStdout(slice: Buffer): void {
    let rest = slice;
    if (this.#search !== null) {
      const after = this.#search.hello.push(slice);
      if (after === null) return;
      this.#fromSandbox = new FrameBoundary();
      this.#search.finish(true);
      rest = after;
    }
    if (this.#question !== null) this.#listen(this.#question, rest);
    const gateway = this.#gateway;
    let offset = 0;
    if (gateway !== null && !gateway.aligned) {
      while (offset < rest.length && !this.#fromSandbox.reached) {
        offset = this.#fromSandbox.step(rest, offset);
      }
      if (!this.#fromSandbox.reached) return;
      gateway.aligned = true;
    }
    const from = offset;
    while (offset < rest.length) offset = this.#fromSandbox.step(rest, offset);
    if (gateway === null || from === rest.length) return;
    gateway.socket.write(from === 0 ? rest : rest.subarray(from));
  }

  /** Beside the frames' own way: what nobody is attached for is dropped as ever. */
  #listen(question: Question, slice: Buffer): void {
    for (const frame of question.frames.push(slice)) {
      const message = parseSandboxMessage(frame.header);
      if (message === null) throw new FrameError("the sandbox sent what is no message");
      question.hear(message);
    }
  }

  #gatewayData(gateway: Gateway, chunk: Buffer): void {
    this.#sandbox.cork();
    try {
      this.#passOn(gateway, chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      // A gateway that breaks the layout has lost its place; the sandbox stands on a boundary still.
      this.#release(gateway, true);
    } finally {
      this.#sandbox.uncork();
    }
    if (this.#sandbox.writableNeedDrain) gateway.socket.pause();
  }

  #passOn(gateway: Gateway, chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#executed) {
        offset = gateway.frames.take(chunk, offset, true, (slice) => this.#sandbox.write(slice));
        if (offset < 0) return;
        continue;
      }
      const pieces: Buffer[] = [];
      offset = gateway.frames.take(chunk, offset, false, (slice) => pieces.push(slice));
      if (offset < 0) return;
      this.#note(messageType(pieces));
      for (const piece of pieces) this.#sandbox.write(piece);
    }
  }

  /** `null`, a doubtful frame, counts as everything: the supervisor will refuse it, and no sandbox stays fresh by it. */
  #note(type: string | null): void {
    if (type !== "hello_request" && !this.#used) {
      this.#used = true;
      this.#hooks.firstUse();
    }
    if (type === "execute_request" || type === null) {
      this.#executed = true;
      this.#hooks.firstExecute();
    }
  }

  #resumeGateway(): void {
    if (!this.#sandbox.writableNeedDrain) this.#gateway?.socket.resume();
  }

  #release(gateway: Gateway | null, destroy: boolean): void {
    if (gateway === null) return;
    if (this.#gateway === gateway) {
      this.#gateway = null;
      this.#sandbox.resume();
      this.#hooks.attachedChanged(false);
    }
    gateway.frames.drop();
    if (destroy) gateway.socket.destroy();
    else gateway.socket.end();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#search?.finish(false);
    this.#question?.giveUp();
    this.#sandbox.destroy();
    this.#hooks.ended();
  }
}

/** Null when the header names none. */
function messageType(pieces: readonly Buffer[]): string | null {
  const head = headOf(pieces);
  try {
    const header: unknown = JSON.parse(head.toString("utf8", PREFIX_BYTES));
    if (typeof header !== "object" || header === null || !("msg_type" in header)) return null;
    return typeof header.msg_type === "string" ? header.msg_type : null;
  } catch {
    return null;
  }
}

/** Prefix and header of a whole frame; a body in further pieces is not touched. */
function headOf(pieces: readonly Buffer[]): Buffer {
  let head: Buffer = Buffer.alloc(0);
  for (const piece of pieces) {
    head = head.length === 0 ? piece : Buffer.concat([head, piece]);
    if (head.length < PREFIX_BYTES) continue;
    const end = PREFIX_BYTES + Math.min(head.readUInt32BE(0), MAX_HEADER_BYTES);
    if (head.length >= end) return head.subarray(0, end);
  }
  return head;
}
