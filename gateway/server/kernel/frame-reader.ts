/**
 * The sandbox's half of a conversation: bytes become messages, one after another; reading stands still on request, and
 * when there are so many that they would take this process from all others.
 */
import type { Socket } from "node:net";
import { FrameDecoder, type RawFrame } from "../../common/protocol/frames.ts";
import { parseSandboxMessage, type SandboxMessage } from "../../common/protocol/messages.ts";
import { Violation } from "./violation.ts";

/** The consumer of a file is behind (`room`), or has yet to say that it has it (`sink`). */
export type Block = "room" | "sink";

/** Frames that one sandbox may send for a long time; at once as many as in one second. */
const FRAMES_PER_S = 4_000;
/** A header this long counts as one more frame. */
const HEADER_BYTES = 512;
/** Handed out in one turn of the event loop. */
const FRAMES_PER_TURN = 256;
/** A small body is copied: as a part of the read that it came in it would keep the whole. */
const SMALL_BODY_BYTES = 16 * 1024;

export interface FrameReaderOptions {
  readonly socket: Socket;
  /** Throwing breaks the conversation off. */
  readonly onMessage: (message: SandboxMessage, body: Buffer) => void;
  /** Not frames, not messages, or `onMessage` threw. Called once. */
  readonly onBroken: (detail: string) => void;
}

export class FrameReader {
  readonly #options: FrameReaderOptions;
  readonly #decoder = new FrameDecoder();
  #frames: RawFrame[] = [];
  #blocked: Block | null = null;
  #stopped = false;
  /** Frames that may come now, and when that was so. */
  #allowed = FRAMES_PER_S;
  #allowedAt = performance.now();
  #breath: NodeJS.Timeout | null = null;
  /** The last header and what it said: output comes as many frames with one and the same. */
  #known: { readonly header: Buffer; readonly message: SandboxMessage } | null = null;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
  }

  receive(chunk: Buffer): void {
    if (this.#stopped) return;
    try {
      for (const frame of this.#decoder.push(chunk)) this.#frames.push(frame);
    } catch (error) {
      this.#break(error);
      return;
    }
    this.#pump();
    if (this.#waits) this.#options.socket.pause();
  }

  /** No message is handed out until `unblock`. */
  block(by: Block): void {
    this.#blocked = by;
  }

  unblock(by: Block): void {
    // The sink's last word also ends a wait for room.
    if (this.#blocked === null || (by === "room" && this.#blocked === "sink")) return;
    if (this.#stopped) return;
    this.#blocked = null;
    this.#goOn();
  }

  /** Hands out nothing more, ever. */
  stop(): void {
    this.#stopped = true;
    this.#frames = [];
    if (this.#breath !== null) clearTimeout(this.#breath);
  }

  get #waits(): boolean {
    return this.#blocked !== null || this.#breath !== null;
  }

  #goOn(): void {
    this.#pump();
    if (!this.#waits) this.#options.socket.resume();
  }

  #breathe(ms: number): void {
    this.#breath = setTimeout(() => {
      this.#breath = null;
      if (!this.#stopped && this.#blocked === null) this.#goOn();
    }, ms);
  }

  /** False, and a pause has begun, when this sandbox has sent its share for now. */
  #admit(header: Buffer): boolean {
    const cost = 1 + Math.floor(header.length / HEADER_BYTES);
    if (this.#allowed < cost) {
      const now = performance.now();
      const earned = ((now - this.#allowedAt) * FRAMES_PER_S) / 1000;
      this.#allowed = Math.min(FRAMES_PER_S, this.#allowed + earned);
      this.#allowedAt = now;
    }
    if (this.#allowed < cost) {
      this.#breathe(Math.ceil(((cost - this.#allowed) * 1000) / FRAMES_PER_S) + 20);
      return false;
    }
    this.#allowed -= cost;
    return true;
  }

  #parse(header: Buffer): SandboxMessage {
    if (this.#known?.header.equals(header) === true) return this.#known.message;
    const message = parseSandboxMessage(header);
    if (message === null) throw new Violation("a message that is not of the protocol");
    this.#known = message.msg_type === "stream" ? { header: Buffer.from(header), message } : null;
    return message;
  }

  #pump(): void {
    const frames = this.#frames;
    let next = 0;
    try {
      while (next < frames.length && !this.#waits && !this.#stopped) {
        const frame = frames[next];
        if (frame === undefined || !this.#admit(frame.header)) break;
        next += 1;
        const { body, header } = frame;
        const own = body.length < SMALL_BODY_BYTES ? Buffer.from(body) : body;
        this.#options.onMessage(this.#parse(header), own);
        if (next === FRAMES_PER_TURN) this.#breathe(0);
      }
    } catch (error) {
      this.#break(error);
      return;
    }
    this.#frames = this.#stopped || next >= frames.length ? [] : frames.slice(next);
  }

  #break(error: unknown): void {
    this.stop();
    this.#options.onBroken(error instanceof Error ? error.message : String(error));
  }
}
