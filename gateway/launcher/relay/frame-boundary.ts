/** Follows a byte stream of frames without keeping it: where one frame ends and the next begins. */
import { PREFIX_BYTES, readPrefix } from "../../common/protocol/frames.ts";

export class FrameBoundary {
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #have = 0;
  #left = 0;

  /** True when the stream stands between two frames. */
  get reached(): boolean {
    return this.#have === 0 && this.#left === 0;
  }

  /**
   * Moves over `chunk` from `offset` to the end of the present frame, or to the end of the chunk; returns the new
   * offset. Throws `FrameError` on a lying length.
   */
  step(chunk: Buffer, offset: number): number {
    let at = offset;
    if (this.#left === 0) {
      if (this.#have === 0 && chunk.length - at >= PREFIX_BYTES) {
        const { headerBytes, bodyBytes } = readPrefix(chunk, at);
        this.#left = headerBytes + bodyBytes;
        at += PREFIX_BYTES;
      } else {
        const taken = chunk.copy(this.#prefix, this.#have, at, at + PREFIX_BYTES - this.#have);
        this.#have += taken;
        at += taken;
        if (this.#have < PREFIX_BYTES) return at;
        this.#have = 0;
        const { headerBytes, bodyBytes } = readPrefix(this.#prefix, 0);
        this.#left = headerBytes + bodyBytes;
      }
    }
    const end = Math.min(chunk.length, at + this.#left);
    this.#left -= end - at;
    return end;
  }
}

const MAX_PIECES = 256;

/** Gathers chunks into whole frames and hands them on as slices; holds one incomplete frame at most. */
export class WholeFrames {
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes of the frame in progress with its prefix; 0 while the prefix is incomplete. */
  #frameBytes = 0;

  /** Forgets an incomplete frame. */
  drop(): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#frameBytes = 0;
  }

  /**
   * Takes `chunk` from `offset` on; returns the offset behind the first frame that is now whole and passes the pieces
   * of that frame, and with `greedy` of all whole frames that follow in the chunk, to `emit`. Returns -1 when no frame
   * is whole: the chunk is then held. Throws `FrameError` on a lying length.
   */
  take(chunk: Buffer, offset: number, greedy: boolean, emit: (slice: Buffer) => void): number {
    let end = offset;
    if (this.#heldBytes > 0) {
      if (this.#frameBytes === 0) {
        if (this.#heldBytes + chunk.length - offset < PREFIX_BYTES) return this.#hold(chunk, offset);
        const head = Buffer.concat([...this.#held, chunk.subarray(offset, offset + PREFIX_BYTES)]);
        this.#frameBytes = frameLength(head, 0);
      }
      const missing = this.#frameBytes - this.#heldBytes;
      if (chunk.length - offset < missing) return this.#hold(chunk, offset);
      end = offset + missing;
      for (const piece of this.#held) emit(piece);
      this.drop();
      if (!greedy) {
        emit(chunk.subarray(offset, end));
        return end;
      }
    }
    let incomplete = 0;
    while (chunk.length - end >= PREFIX_BYTES) {
      const length = frameLength(chunk, end);
      if (chunk.length - end < length) {
        incomplete = length;
        break;
      }
      end += length;
      if (!greedy) break;
    }
    if (end === offset) {
      this.#frameBytes = incomplete;
      return this.#hold(chunk, offset);
    }
    emit(offset === 0 && end === chunk.length ? chunk : chunk.subarray(offset, end));
    return end;
  }

  #hold(chunk: Buffer, offset: number): -1 {
    if (offset < chunk.length) {
      this.#held.push(chunk.subarray(offset));
      this.#heldBytes += chunk.length - offset;
      // A sender of single bytes must not cost an object for each.
      if (this.#held.length > MAX_PIECES) this.#held = [Buffer.concat(this.#held)];
    }
    return -1;
  }
}

function frameLength(bytes: Buffer, offset: number): number {
  const { headerBytes, bodyBytes } = readPrefix(bytes, offset);
  return PREFIX_BYTES + headerBytes + bodyBytes;
}
