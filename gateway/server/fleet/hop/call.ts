/** One call at another host, as the client's connections tell of it: whether it can have begun there, and its answer as it comes. */
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";

/** Answers of a known length up to here are read before they are passed on: their failure is told by a status. */
const SHORT_BYTES = 64 * 1024;

type Controller = Dispatcher.DispatchController;
type AnswerHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

interface Head {
  readonly status: number;
  readonly headers: AnswerHeaders;
}

export interface HopAnswer extends Head {
  /** A short one is here as a whole: otherwise the call has failed. */
  readonly body: Uint8Array | Readable;
}

interface Gathered extends Head {
  readonly chunks: Buffer[];
}

export class HopCall implements Dispatcher.DispatchHandler {
  readonly #answer = Promise.withResolvers<HopAnswer>();
  readonly #onDone: () => void;
  #controller: Controller | null = null;
  #aborted: Error | null = null;
  #short: Gathered | null = null;
  #long: Readable | null = null;
  #sent = false;
  #done = false;

  /** `onDone`: nothing more comes, and nothing more is taken. */
  constructor(onDone: () => void) {
    this.#onDone = onDone;
  }

  /** Rejects when the connection fails before the answer begins, or before a short one ends. */
  get answer(): Promise<HopAnswer> {
    return this.#answer.promise;
  }

  /** A connection was there for it: from then on the other host can have all of it. */
  get sent(): boolean {
    return this.#sent;
  }

  /** Also of one that no connection has taken yet. */
  abort(reason: unknown): void {
    if (this.#done || this.#aborted !== null) return;
    this.#aborted = reason instanceof Error ? reason : new Error(String(reason));
    if (this.#controller !== null) this.#controller.abort(this.#aborted);
    else this.#fail(this.#aborted);
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#aborted !== null) controller.abort(this.#aborted);
    else this.#sent = true;
  }

  onResponseStart(controller: Controller, status: number, headers: AnswerHeaders): void {
    // Not the answer yet; hosts of this kind send none.
    if (status < 200) return;
    const length = headers["content-length"];
    if (status === 204 || (length !== undefined && Number(length) <= SHORT_BYTES)) {
      this.#short = { status, headers, chunks: [] };
      return;
    }
    const body = new Readable({
      read: () => controller.resume(),
      destroy: (error, callback) => {
        if (!this.#done) controller.abort(error ?? new Error("the answer is not read any more"));
        callback(error);
      },
    });
    // Whoever reads it hears of its failure; if nobody does, nobody has to.
    body.on("error", () => {});
    this.#long = body;
    this.#answer.resolve({ status, headers, body });
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#short !== null) this.#short.chunks.push(chunk);
    else if (this.#long?.push(chunk) === false) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish();
    this.#long?.push(null);
    if (this.#short === null) return;
    const { chunks, headers, status } = this.#short;
    const [first = Buffer.alloc(0)] = chunks;
    this.#answer.resolve({ status, headers, body: chunks.length > 1 ? Buffer.concat(chunks) : first });
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#finish();
    this.#answer.reject(error);
    this.#long?.destroy(error);
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#onDone();
  }
}
