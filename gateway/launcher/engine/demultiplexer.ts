/**
 * Docker's framing of an attach stream: one byte stream id, three zero bytes, `u32` length, payload. Payloads are
 * handed on as slices of what was read: at most 8 bytes are ever held, so the caller's back-pressure is the only buffer.
 */

const HEADER_BYTES = 8;
/** The engine copies in pieces of 32 KiB; a longer claim is not an attach stream. */
const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024;
const STDOUT = 1;
const STDERR = 2;

/** The engine sent something that is not an attach stream. */
export class DemultiplexError extends Error {
  override readonly name = "DemultiplexError";
}

export interface DemultiplexerSink {
  stdout(slice: Buffer): void;
  stderr(slice: Buffer): void;
}

export class Demultiplexer {
  readonly #sink: DemultiplexerSink;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #have = 0;
  #stream = STDOUT;
  #left = 0;

  constructor(sink: DemultiplexerSink) {
    this.#sink = sink;
  }

  /** Throws `DemultiplexError`; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#left === 0) {
        if (this.#have === 0 && chunk.length - offset >= HEADER_BYTES) {
          this.#open(chunk, offset);
          offset += HEADER_BYTES;
        } else {
          const taken = chunk.copy(this.#header, this.#have, offset, offset + HEADER_BYTES - this.#have);
          this.#have += taken;
          offset += taken;
          if (this.#have < HEADER_BYTES) return;
          this.#have = 0;
          this.#open(this.#header, 0);
        }
        continue;
      }
      const end = Math.min(chunk.length, offset + this.#left);
      const slice = offset === 0 && end === chunk.length ? chunk : chunk.subarray(offset, end);
      this.#left -= end - offset;
      offset = end;
      if (this.#stream === STDOUT) this.#sink.stdout(slice);
      else this.#sink.stderr(slice);
    }
  }

  #open(bytes: Buffer, offset: number): void {
    const stream = bytes[offset];
    const length = bytes.readUInt32BE(offset + 4);
    if (stream !== STDOUT && stream !== STDERR) {
      throw new DemultiplexError(`attach stream has a frame of unknown stream ${stream}`);
    }
    if (length > MAX_PAYLOAD_BYTES) {
      throw new DemultiplexError(`attach stream claims a payload of ${length} bytes`);
    }
    this.#stream = stream;
    this.#left = length;
  }
}
