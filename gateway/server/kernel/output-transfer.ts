/** Takes the files that a call leaves, one at a time, at the pace of the sink. */
import { Readable } from "node:stream";
import { MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { Message, OutputSink, RunLimits, Undelivered } from "./run.ts";
import { Violation } from "./violation.ts";

const MAX_UNDELIVERED = 256;
/** Smaller pieces are gathered: each would keep the read that it came in, and an object of its own. */
const BLOCK_BYTES = 64 * 1024;

interface IncomingFile {
  readonly id: string;
  readonly size: number;
  readonly body: Readable;
  /** Small pieces, up to `filled`. */
  block: Buffer | null;
  filled: number;
  received: number;
  /** The sink is done with it, one way or the other: what still comes is dropped. */
  settled: boolean;
}

export class OutputTransfer {
  readonly #sink: OutputSink;
  readonly #rules: RunLimits["collect"];
  readonly #reader: FrameReader;
  readonly #undelivered: Undelivered[] = [];
  #file: IncomingFile | null = null;

  constructor(sink: OutputSink, rules: RunLimits["collect"], reader: FrameReader) {
    this.#sink = sink;
    this.#rules = rules;
    this.#reader = reader;
  }

  get undelivered(): readonly Undelivered[] {
    return this.#undelivered;
  }

  /** A file has begun and not ended. */
  get open(): boolean {
    return this.#file !== null;
  }

  /** `unwanted`: nobody waits for the outputs any more; what comes is dropped. */
  begin(message: Message<"file_output">, unwanted: boolean): void {
    const { path, size, change } = message.content;
    if (size > this.#rules.max_file_bytes) throw new Violation("file_output beyond its limit");
    const body = new Readable({ read: () => this.#reader.unblock("room"), highWaterMark: MAX_BODY_BYTES });
    body.on("error", () => {});
    const file: IncomingFile = {
      id: message.msg_id,
      size,
      body,
      block: null,
      filled: 0,
      received: 0,
      settled: false,
    };
    this.#file = file;
    if (unwanted) {
      this.#settle(file);
      return;
    }
    this.#sink.accept({ path, size, change }, body).then(
      () => this.#settle(file),
      (error: unknown) => {
        if (this.#undelivered.length < MAX_UNDELIVERED) {
          this.#undelivered.push({ path, message: error instanceof Error ? error.message : String(error) });
        }
        this.#settle(file);
      },
    );
  }

  onChunk(message: Message<"chunk">, body: Buffer): void {
    const file = this.#file;
    if (file === null || message.parent_id !== file.id) throw new Violation("chunk of nothing");
    file.received += body.length;
    if (file.received > file.size) throw new Violation("a file longer than announced");
    const aborted = message.content?.aborted === true;
    const over = aborted || message.content?.last === true;
    if (!over && body.length === 0) throw new Violation("an empty piece of a file");
    if (!file.settled) this.#take(file, body, over);
    if (!over) return;
    this.#file = null;
    if (file.settled) return;
    if (aborted || file.received !== file.size) {
      file.body.destroy(new Error("the file changed while it was read"));
    } else {
      file.body.push(null);
    }
    // The next message waits until the sink has the file for good.
    this.#reader.block("sink");
  }

  /** The conversation ended: the file that was under way fails. */
  end(reason: Error): void {
    this.#file?.body.destroy(reason);
  }

  #take(file: IncomingFile, piece: Buffer, last: boolean): void {
    const small = piece.length < BLOCK_BYTES;
    if (small && piece.length > 0) {
      file.block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
      const copied = piece.copy(file.block, file.filled);
      file.filled += copied;
      if (file.filled === BLOCK_BYTES) {
        this.#push(file, file.block);
        file.block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
        file.filled = piece.copy(file.block, 0, copied);
      }
    }
    if (file.block !== null && file.filled > 0 && (last || !small)) {
      this.#push(file, file.block.subarray(0, file.filled));
      file.block = null;
      file.filled = 0;
    }
    if (!small) this.#push(file, piece);
  }

  #push(file: IncomingFile, bytes: Buffer): void {
    if (!file.body.push(bytes)) this.#reader.block("room");
  }

  #settle(file: IncomingFile): void {
    file.settled = true;
    file.block = null;
    file.body.destroy();
    this.#reader.unblock("sink");
  }
}
