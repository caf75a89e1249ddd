/**
 * The one way in for JSON from outside. Small texts are read at once; those that would hold up everybody else are read
 * by a thread with a heap of its own, one after another.
 */
import { Worker } from "node:worker_threads";
import { type JsonKind, readJsonText } from "./json-reading.ts";
import { measureJson, Unreadable } from "./json-shape.ts";
import type { JsonAnswer, JsonJob } from "./json-worker.ts";

/** Up to here a text costs less than the way to the thread and back. */
const SMALL_BYTES = 32 * 1024;
const SMALL_ELEMENTS = 1_000;
const TOO_MUCH = "The body takes more memory to read than there is; send less at a time";

export interface JsonReaderOptions {
  /** All that will be read. */
  readonly kinds: readonly JsonKind<unknown>[];
  /** Heap of the thread; what a text within its limits needs. */
  readonly heapMib: number;
}

interface Waiting {
  readonly job: JsonJob;
  readonly settle: (answer: JsonAnswer | Error) => void;
}

export class JsonReader {
  readonly #options: JsonReaderOptions;
  readonly #waiting: Waiting[] = [];
  #worker: Worker | null = null;
  #ready = false;
  #reading: Waiting | null = null;
  #closed = false;

  constructor(options: JsonReaderOptions) {
    this.#options = options;
  }

  /** Loads the thread's program; to be awaited before files of this program may be out of reach. */
  async start(): Promise<void> {
    const worker = this.#open();
    // Nothing else may keep the process while it starts.
    worker.ref();
    await new Promise<void>((resolve, reject) => {
      worker.once("message", () => resolve());
      worker.once("error", reject);
    }).finally(() => worker.unref());
  }

  /** Rejects with `Unreadable`. The bytes are the reader's from now on. */
  async read<T>(kind: JsonKind<T>, bytes: Uint8Array<ArrayBuffer>): Promise<T> {
    if (bytes.length <= SMALL_BYTES && measureJson(bytes, kind.limits) <= SMALL_ELEMENTS) {
      return readJsonText(kind, bytes);
    }
    const { module, name } = kind;
    const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
    const answer = await this.#ask({ module, name, bytes: whole ? bytes.buffer : bytes.slice().buffer });
    if (answer instanceof Error) throw answer;
    // Made by this very kind's `read`.
    if (answer.ok) return answer.value as T;
    if (answer.code === "unexpected") throw new Error(`${name} could not be read: ${answer.message}`);
    throw new Unreadable(answer.code, answer.message, answer.verbatim);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#worker = null;
    this.#settle(new Error("the reader of JSON is closed"));
    await worker?.terminate();
  }

  #ask(job: JsonJob): Promise<JsonAnswer | Error> {
    if (this.#closed) return Promise.resolve(new Error("the reader of JSON is closed"));
    return new Promise((settle) => {
      this.#waiting.push({ job, settle });
      this.#next();
    });
  }

  #next(): void {
    if (this.#reading !== null) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#reading = next;
    this.#open().postMessage(next.job, [next.job.bytes]);
  }

  #open(): Worker {
    if (this.#worker !== null) return this.#worker;
    const { heapMib, kinds } = this.#options;
    const worker = new Worker(new URL("./json-worker.ts", import.meta.url), {
      workerData: [...new Set(kinds.map(({ module }) => module))],
      resourceLimits: { maxOldGenerationSizeMb: heapMib },
      // Its flags are its own: the main heap's size is not for it.
      execArgv: [],
    });
    worker.on("message", (answer: JsonAnswer | "ready") => {
      if (answer === "ready") this.#ready = true;
      else this.#settle(answer);
    });
    worker.on("error", (error) => this.#lose(worker, error));
    worker.on("exit", () => this.#lose(worker, new Error("the thread that reads JSON has ended")));
    worker.unref();
    this.#worker = worker;
    return worker;
  }

  /** The text that it died of is answered; those behind it are read by a new thread. */
  #lose(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    const outOfMemory = this.#ready && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
    this.#ready = false;
    this.#settle(outOfMemory ? new Unreadable("too_large", TOO_MUCH) : error);
  }

  #settle(answer: JsonAnswer | Error): void {
    const done = this.#reading;
    this.#reading = null;
    done?.settle(answer);
    if (!this.#closed) this.#next();
  }
}
