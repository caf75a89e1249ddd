/** The gateway's half of a conversation: messages with fresh ids, and long content at the pace of the stream. */
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { encodeFrame, MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { GatewayMessage } from "../../common/protocol/messages.ts";

export function* pieces(bytes: Buffer, from: number, size: number): Generator<Buffer> {
  for (let at = from; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export class FrameWriter {
  readonly #socket: Socket;
  readonly #prefix = randomBytes(9).toString("base64url");
  #sequence = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  newId(): string {
    this.#sequence += 1;
    return `${this.#prefix}-${this.#sequence}`;
  }

  /** False: the stream is full, wait for `drained` before sending more. */
  send(message: GatewayMessage, body?: Uint8Array): boolean {
    return this.sendFrame(encodeFrame(message, body));
  }

  sendFrame(frame: Buffer): boolean {
    return this.#socket.write(frame);
  }

  /** Resolves when the stream takes more, or ended. */
  drained(): Promise<void> {
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

  /** What the first frame's body had no room for. */
  sendRest(parentId: string, bytes: Buffer): Promise<void> {
    return this.sendChunks(parentId, pieces(bytes, MAX_BODY_BYTES, MAX_BODY_BYTES));
  }

  async sendChunks(parentId: string, bodies: Iterable<Buffer>): Promise<void> {
    for (const piece of bodies) {
      if (this.#socket.destroyed) return;
      if (!this.send({ msg_type: "chunk", parent_id: parentId }, piece)) await this.drained();
    }
  }
}
