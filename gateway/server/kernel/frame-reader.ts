/** The sandbox's half of a conversation: bytes become messages, one after another; reading stands still on request. */
import type { Socket } from "node:net";
import { FrameDecoder, type RawFrame } from "../../common/protocol/frames.ts";
import { parseSandboxMessage, type SandboxMessage } from "../../common/protocol/messages.ts";
import { Violation } from "./violation.ts";

/** The consumer of a file is behind (`room`), or has yet to say that it has it (`sink`). */
export type Block = "room" | "sink";

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
    if (this.#blocked !== null) this.#options.socket.pause();
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
    this.#pump();
    if (this.#blocked === null) this.#options.socket.resume();
  }

  /** Hands out nothing more, ever. */
  stop(): void {
    this.#stopped = true;
    this.#frames = [];
  }

  #pump(): void {
    const frames = this.#frames;
    let next = 0;
    try {
      while (next < frames.length && this.#blocked === null && !this.#stopped) {
        const frame = frames[next];
        next += 1;
        if (frame === undefined) break;
        const message = parseSandboxMessage(frame.header);
        if (message === null) throw new Violation("a message that is not of the protocol");
        this.#options.onMessage(message, frame.body);
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
