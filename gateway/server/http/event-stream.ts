/**
 * Server-sent events to one reader. What waits for a slow reader is bounded: pieces beyond that are left out, and the
 * reader is told how much; whoever writes waits for nobody.
 */

/** Pieces that wait for the reader, in bytes. */
export const WAITING_BYTES = 256 * 1024;
const HEARTBEAT_MS = 15_000;
const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode(": still here\n\n");

export class EventStream {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #waiting: Uint8Array[] = [];
  readonly #heartbeat: NodeJS.Timeout;
  #waitingBytes = 0;
  #leftOut = 0;
  #ended = false;
  /** The reader wants more than there is. */
  #wanted: (() => void) | null = null;

  /** `onGone`: the reader has left before the end. */
  constructor(onGone: () => void, heartbeatMs = HEARTBEAT_MS) {
    this.#heartbeat = setInterval(() => {
      if (this.#waiting.length === 0) this.#put(HEARTBEAT);
    }, heartbeatMs);
    this.stream = new ReadableStream(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => {
          this.#close();
          onGone();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Of `textBytes` bytes of output. False: left out, because too much waits already. */
  piece(event: string, data: object, textBytes: number): boolean {
    const bytes = format(event, data);
    if (this.#waitingBytes + bytes.length > WAITING_BYTES) {
      this.#leftOut += textBytes;
      return false;
    }
    this.#tellLeftOut();
    this.#put(bytes);
    return true;
  }

  /** Nobody will read it. */
  discard(): void {
    this.#close();
  }

  /** The last word, which is never left out. */
  end(event: string, data: object): void {
    if (this.#ended) return;
    this.#tellLeftOut();
    this.#put(format(event, data));
    this.#close();
  }

  #tellLeftOut(): void {
    if (this.#leftOut === 0) return;
    this.#put(format("left_out", { bytes: this.#leftOut }));
    this.#leftOut = 0;
  }

  #put(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#wanted?.();
  }

  #close(): void {
    this.#ended = true;
    clearInterval(this.#heartbeat);
    this.#wanted?.();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    if (this.#waiting.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wanted = resolve;
      });
      this.#wanted = null;
    }
    const next = this.#waiting.shift();
    if (next === undefined) {
      controller.close();
      return;
    }
    this.#waitingBytes -= next.length;
    controller.enqueue(next);
  }
}

const format = (event: string, data: object) =>
  encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
