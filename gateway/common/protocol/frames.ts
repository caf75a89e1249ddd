/**
 * The byte layout of the channel between gateway, launcher and supervisor:
 * `u32 header length, u32 body length` (big endian), header (one JSON object, UTF-8), body.
 * The Python twin is `sandbox-image/supervisor/frames.py`.
 */

/** Largest header, in bytes. */
export const MAX_HEADER_BYTES = 64 * 1024;
/** Largest body of one frame, in bytes; longer content is sent in several frames. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Bytes before the header. */
export const PREFIX_BYTES = 8;

/** A sender of single bytes must not cost an object for each. */
const MAX_PIECES = 256;

/** One frame; `header` is still unparsed so that a relay can pass it on without reading it. */
export interface RawFrame {
  readonly header: Buffer;
  readonly body: Buffer;
}

/** The peer broke the frame layout. Whatever follows in the stream cannot be trusted. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

const EMPTY: Buffer = Buffer.alloc(0);

/** Serialises one frame. Throws `FrameError` when header or body exceed their limits. */
export function encodeFrame(header: object, body: Uint8Array = EMPTY): Buffer {
  const json = JSON.stringify(header);
  const headerBytes = Buffer.byteLength(json);
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new FrameError(`header of ${headerBytes} bytes exceeds ${MAX_HEADER_BYTES}`);
  }
  if (body.length > MAX_BODY_BYTES) {
    throw new FrameError(`body of ${body.length} bytes exceeds ${MAX_BODY_BYTES}`);
  }
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + headerBytes + body.length);
  frame.writeUInt32BE(headerBytes, 0);
  frame.writeUInt32BE(body.length, 4);
  frame.write(json, PREFIX_BYTES, "utf8");
  frame.set(body, PREFIX_BYTES + headerBytes);
  return frame;
}

/** Reads the two lengths at `offset` and checks them. Throws `FrameError` on a lie. */
export function readPrefix(bytes: Buffer, offset: number): { headerBytes: number; bodyBytes: number } {
  const headerBytes = bytes.readUInt32BE(offset);
  const bodyBytes = bytes.readUInt32BE(offset + 4);
  if (headerBytes < 2 || headerBytes > MAX_HEADER_BYTES) {
    throw new FrameError(`header length ${headerBytes} is outside 2…${MAX_HEADER_BYTES}`);
  }
  if (bodyBytes > MAX_BODY_BYTES) {
    throw new FrameError(`body length ${bodyBytes} exceeds ${MAX_BODY_BYTES}`);
  }
  return { headerBytes, bodyBytes };
}

/**
 * Cuts a byte stream into frames. Holds at most one incomplete frame (about 1.1 MiB) plus the chunk being
 * pushed; a lying length throws before anything is buffered for it.
 */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #buffered = 0;
  #needed = PREFIX_BYTES;

  /** Bytes held that do not make a whole frame yet; 0 means the stream stands on a frame boundary. */
  get pendingBytes(): number {
    return this.#buffered;
  }

  *push(chunk: Buffer): Generator<RawFrame, void, undefined> {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered < this.#needed) {
      if (this.#chunks.length > MAX_PIECES) this.#chunks = [Buffer.concat(this.#chunks, this.#buffered)];
      return;
    }
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#buffered);
    let offset = 0;
    try {
      for (;;) {
        const left = bytes.length - offset;
        if (left < PREFIX_BYTES) {
          this.#needed = PREFIX_BYTES;
          return;
        }
        const { headerBytes, bodyBytes } = readPrefix(bytes, offset);
        const frameBytes = PREFIX_BYTES + headerBytes + bodyBytes;
        if (left < frameBytes) {
          this.#needed = frameBytes;
          return;
        }
        const headerStart = offset + PREFIX_BYTES;
        const bodyStart = headerStart + headerBytes;
        offset += frameBytes;
        yield {
          header: bytes.subarray(headerStart, bodyStart),
          body: bytes.subarray(bodyStart, bodyStart + bodyBytes),
        };
      }
    } finally {
      const rest = bytes.subarray(offset);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#buffered = rest.length;
    }
  }
}
