/**
 * Finds a sandbox's answer to our hello in a stream whose frame boundary is unknown: the launcher before us may have
 * died in the middle of a frame. The nonce is ours, so the answer is recognised wherever it stands.
 */
import { randomBytes } from "node:crypto";
import { encodeFrame, MAX_HEADER_BYTES, PREFIX_BYTES } from "../../common/protocol/frames.ts";
import { type HelloRequest, PROTOCOL_VERSION, parseSandboxMessage } from "../../common/protocol/messages.ts";

const WINDOW_BYTES = PREFIX_BYTES + MAX_HEADER_BYTES;
const OPEN_BRACE = 0x7b;

export class HelloSearch {
  readonly request: Buffer;
  readonly #nonce = randomBytes(15).toString("base64url");
  #window: Buffer = Buffer.alloc(0);

  constructor() {
    const message: HelloRequest = {
      msg_type: "hello_request",
      msg_id: `launcher-${this.#nonce}`,
      content: { nonce: this.#nonce },
    };
    this.request = encodeFrame(message);
  }

  /** Returns what follows the answer once it is there; holds about 64 KiB besides the chunk. */
  push(chunk: Buffer): Buffer | null {
    const bytes = this.#window.length === 0 ? chunk : Buffer.concat([this.#window, chunk]);
    // `lastIndexOf` would miss an answer that repeats the nonce; the first mention is in the answer's own header.
    const mention = bytes.indexOf(this.#nonce);
    if (mention >= 0) {
      for (let start = mention; start >= Math.max(PREFIX_BYTES, mention - MAX_HEADER_BYTES); start--) {
        if (bytes[start] !== OPEN_BRACE) continue;
        const headerBytes = bytes.readUInt32BE(start - PREFIX_BYTES);
        if (headerBytes > MAX_HEADER_BYTES || bytes.readUInt32BE(start - 4) !== 0) continue;
        const end = start + headerBytes;
        if (end < mention || end > bytes.length) continue;
        const message = parseSandboxMessage(bytes.subarray(start, end));
        if (message?.msg_type !== "hello_reply" || message.content.nonce !== this.#nonce) continue;
        if (message.content.protocol_version !== PROTOCOL_VERSION) continue;
        this.#window = Buffer.alloc(0);
        return bytes.subarray(end);
      }
    }
    // Kept from before the first mention, so that an answer still incomplete is found with the next chunk.
    const keepFrom = mention >= 0 ? Math.max(0, mention - WINDOW_BYTES) : bytes.length - WINDOW_BYTES;
    const kept = bytes.subarray(Math.max(0, keepFrom));
    this.#window = Buffer.from(kept.length > 2 * WINDOW_BYTES ? kept.subarray(-WINDOW_BYTES) : kept);
    return null;
  }
}
