/**
 * One program that calls tools. It stays blocked inside its kernel while the client runs them; nothing is replayed. At
 * any time either one request waits for what the program does next, or the program waits for the next request.
 */
import type { JsonReader } from "../../bounds/json-reader.ts";
import { Unreadable } from "../../bounds/json-shape.ts";
import type { Hold } from "../../bounds/memory.ts";
import { Violation } from "../../kernel/violation.ts";
import {
  MAX_CALLS_PER_PROGRAM,
  MAX_PARTIAL_OUTPUT,
  MAX_RESULT_BYTES_PER_PROGRAM,
  TOKEN_LIFETIME_MS,
} from "./limits.ts";
import { INTERRUPTED } from "./reply.ts";
import { TOOL_CALLS, type ToolCall } from "./tool-calls.ts";
import { encodeToolResults, type ReceivedResult, type ToolResult } from "./tool-results.ts";

/** Values of the sandbox's JSON take more room than their text. */
const CALLS_FACTOR = 4;

/** What the call needs from the program that drives it; the same names as in `RunRequest`. */
export interface ProgramHooks {
  readonly onToolCalls: (calls: Buffer) => Promise<readonly Buffer[]>;
  readonly onStream: (name: "stdout" | "stderr", bytes: Buffer) => void;
  readonly signal: AbortSignal;
  /** Why the program had to be ended, in words the client shows; null when it was not. */
  readonly failure: () => string | null;
}

/** What a request gets to hear. */
export type Round<Reply> =
  | {
      readonly kind: "tool_calls";
      readonly calls: readonly ToolCall[];
      readonly stdout: string;
      readonly stderr: string;
    }
  | { readonly kind: "finished"; readonly reply: Reply };

export type Continuation<Reply> =
  | { readonly kind: "round"; readonly round: Promise<Round<Reply>> }
  | { readonly kind: "refused"; readonly status: 400 | 409; readonly error: string }
  /** There is no memory for the results now. */
  | { readonly kind: "full" };

interface Batch {
  readonly calls: readonly ToolCall[];
  readonly results: Map<string, ToolResult>;
  readonly answer: PromiseWithResolvers<readonly Buffer[]>;
  /** The program's own ids, in order; ours are what clients see. */
  readonly theirIds: ReadonlyMap<string, string>;
}

export interface ProgramStart<Reply> {
  /** Where its outputs are stored. */
  readonly sessionId: string;
  readonly toolNames: ReadonlySet<string>;
  /** Runs the call to its end and makes the final reply. */
  readonly run: (hooks: ProgramHooks) => Promise<Reply>;
}

interface ProgramOptions<Reply> extends ProgramStart<Reply> {
  readonly id: string;
  readonly caller: string;
  readonly json: JsonReader;
  /** Memory for what the program asks and hears. */
  readonly memory: Hold;
  /** Called once, when nobody can hear of the program any more. */
  readonly onGone: () => void;
}

/** Text as it comes, cut at its limit. */
class Partial {
  readonly #decoder = new TextDecoder();
  #text = "";

  add(bytes: Buffer): void {
    if (this.#text.length >= MAX_PARTIAL_OUTPUT) return;
    this.#text = (this.#text + this.#decoder.decode(bytes, { stream: true })).slice(0, MAX_PARTIAL_OUTPUT);
  }

  toString(): string {
    return this.#text;
  }
}

export class Program<Reply> {
  readonly id: string;
  readonly caller: string;
  readonly sessionId: string;
  readonly #options: ProgramOptions<Reply>;
  readonly #abort = new AbortController();
  readonly #output = { stdout: new Partial(), stderr: new Partial() };
  /** What the program waits for; the supervisor asks for one batch at a time. */
  #batch: Batch | null = null;
  /** Digest of every accepted result, by our id: a repeated delivery is recognised, a different one refused. */
  readonly #accepted = new Map<string, string>();
  #issued = 0;
  #resultBytes = 0;
  /** Of `memory`, for the present batch. */
  #batchBytes = 0;
  #failure: string | null = null;
  #listener: PromiseWithResolvers<Round<Reply>> | null = null;
  /** The last round, once the call has ended. */
  #ended: Promise<Round<Reply>> | null = null;
  #expiry: NodeJS.Timeout | null = null;
  #expiresAtMs = 0;
  #gone = false;

  constructor(options: ProgramOptions<Reply>) {
    this.id = options.id;
    this.caller = options.caller;
    this.sessionId = options.sessionId;
    this.#options = options;
  }

  /** When the program is given up if nobody continues it; null while a request listens. */
  get expiresAtMs(): number | null {
    return this.#listener === null ? this.#expiresAtMs : null;
  }

  /** Starts the call; resolves with its first round. A signal that aborts ends the program. */
  start(request: AbortSignal): Promise<Round<Reply>> {
    const first = this.#listen(request);
    const running = this.#options
      .run({
        onToolCalls: (calls) => this.#onToolCalls(calls),
        onStream: (name, bytes) => this.#output[name].add(bytes),
        signal: this.#abort.signal,
        failure: () => this.#failure,
      })
      .then((reply): Round<Reply> => ({ kind: "finished", reply }));
    // A failure, too, is told to whoever listens, now or with the next continuation.
    const end = () => {
      this.#ended = running;
      this.#tell(running);
    };
    running.then(end, end);
    return first;
  }

  /** Hands results to the program; resolves with what it does next. */
  continue(results: readonly ReceivedResult[], request: AbortSignal): Continuation<Reply> {
    if (this.#listener !== null) {
      return this.#refuse(409, "Another continuation is already in flight for this execution; retry shortly");
    }
    const problem = this.#check(results);
    if (problem !== null) return problem;
    const known = results.filter(({ call_id }) => this.#accepted.has(call_id));
    const bytes = sum(results) - sum(known);
    if (!this.#grow(bytes)) return { kind: "full" };
    for (const result of results) this.#accept(result);
    // Someone heard what the program waits for and answered only a part, or delivers again what is known.
    const round = this.#listen(request);
    if (this.#ended !== null) this.#tell(this.#ended);
    else if (this.#batch !== null) this.#tellCalls(this.#batch);
    return { kind: "round", round };
  }

  /** Ends the program now; what it held is freed. */
  cancel(): void {
    this.#abort.abort();
    this.#batch?.answer.reject(new Error("the program was cancelled"));
    this.#batch = null;
    if (this.#listener === null) this.#leave();
  }

  #check(results: readonly ReceivedResult[]): Continuation<Reply> | null {
    let bytes = this.#resultBytes;
    for (const { call_id, digest, bytes: size } of results) {
      const known = this.#accepted.get(call_id);
      if (known === digest) continue;
      if (known !== undefined) {
        return this.#refuse(409, `tool_results: ${call_id} was answered before, differently`);
      }
      if (!this.#batch?.theirIds.has(call_id)) {
        return this.#refuse(400, `tool_results: ${call_id} was not issued for this execution`);
      }
      bytes += size;
    }
    if (bytes > MAX_RESULT_BYTES_PER_PROGRAM) {
      return this.#refuse(
        400,
        `tool_results: ${bytes} bytes together; one execution may have ${MAX_RESULT_BYTES_PER_PROGRAM}`,
      );
    }
    return null;
  }

  #accept(received: ReceivedResult): void {
    const batch = this.#batch;
    const theirId = batch?.theirIds.get(received.call_id);
    if (!batch || theirId === undefined || this.#accepted.has(received.call_id)) return;
    this.#accepted.set(received.call_id, received.digest);
    this.#resultBytes += received.bytes;
    const { json, is_error, error_message } = received;
    batch.results.set(received.call_id, {
      call_id: theirId,
      json,
      is_error,
      ...(error_message === undefined ? {} : { error_message }),
    });
    if (batch.results.size < batch.calls.length) return;
    this.#batch = null;
    batch.answer.resolve(encodeToolResults([...batch.results.values()]));
  }

  #grow(bytes: number): boolean {
    if (this.#gone || !this.#options.memory.grow(bytes)) return false;
    this.#batchBytes += bytes;
    return true;
  }

  async #read(bytes: Buffer): Promise<readonly ToolCall[]> {
    try {
      return await this.#options.json.read(TOOL_CALLS, new Uint8Array(bytes));
    } catch (error) {
      if (error instanceof Unreadable) throw new Violation(`tool calls that are not of the protocol`);
      throw error;
    }
  }

  async #onToolCalls(bytes: Buffer): Promise<readonly Buffer[]> {
    // The results of the batch before are out of this process by now.
    this.#options.memory.shrink(this.#batchBytes);
    this.#batchBytes = 0;
    const calls = await this.#read(bytes);
    const failure =
      this.#problemWith(calls) ?? (this.#grow(bytes.length * CALLS_FACTOR) ? null : INTERRUPTED);
    if (failure !== null) {
      this.#failure = failure;
      throw new Error(failure);
    }
    this.#abort.signal.throwIfAborted();
    // Ids come from the sandbox and may repeat; the ones that clients see are ours.
    const theirIds = new Map<string, string>();
    const ours = calls.map(({ id, name, input }): ToolCall => {
      this.#issued += 1;
      const ourId = `call_${String(this.#issued).padStart(3, "0")}`;
      theirIds.set(ourId, id);
      return { id: ourId, name, input };
    });
    const batch: Batch = {
      calls: ours,
      results: new Map(),
      answer: Promise.withResolvers<readonly Buffer[]>(),
      theirIds,
    };
    this.#batch = batch;
    this.#tellCalls(batch);
    return batch.answer.promise;
  }

  #problemWith(calls: readonly ToolCall[]): string | null {
    if (this.#batch !== null) return INTERRUPTED;
    if (calls.length === 0) {
      return "sandbox emitted an empty pending tool call block; aborting to avoid a tight retry loop";
    }
    const unknown = calls.find(({ name }) => !this.#options.toolNames.has(name));
    if (unknown !== undefined) return `Sandbox requested an unregistered tool: ${unknown.name.slice(0, 256)}`;
    if (this.#issued + calls.length > MAX_CALLS_PER_PROGRAM) {
      return `Execution exceeded maximum tool calls (${MAX_CALLS_PER_PROGRAM})`;
    }
    return null;
  }

  #tellCalls(batch: Batch): void {
    this.#tell({
      kind: "tool_calls",
      calls: batch.calls.filter(({ id }) => !batch.results.has(id)),
      stdout: this.#output.stdout.toString(),
      stderr: this.#output.stderr.toString(),
    });
  }

  /** Whoever listens hears it; with nobody there, the next continuation finds it. */
  #tell(round: Round<Reply> | Promise<Round<Reply>>): void {
    const listener = this.#listener;
    if (listener === null) return;
    this.#listener = null;
    const ended = round instanceof Promise;
    if (ended) this.#leave();
    else this.#holdUntilExpiry();
    listener.resolve(round);
  }

  #listen(request: AbortSignal): Promise<Round<Reply>> {
    if (this.#expiry !== null) clearTimeout(this.#expiry);
    this.#expiry = null;
    const listener = Promise.withResolvers<Round<Reply>>();
    this.#listener = listener;
    // Without a reply there is no token, and nobody can come back: what the program holds is freed at once.
    const hangUp = () => this.cancel();
    if (request.aborted) hangUp();
    else request.addEventListener("abort", hangUp, { once: true });
    const round = listener.promise;
    const stop = () => request.removeEventListener("abort", hangUp);
    round.then(stop, stop);
    return round;
  }

  #holdUntilExpiry(): void {
    this.#expiresAtMs = Date.now() + TOKEN_LIFETIME_MS;
    this.#expiry = setTimeout(() => this.cancel(), TOKEN_LIFETIME_MS);
    this.#expiry.unref();
  }

  #refuse(status: 400 | 409, error: string): Continuation<Reply> {
    return { kind: "refused", status, error };
  }

  #leave(): void {
    if (this.#expiry !== null) clearTimeout(this.#expiry);
    if (this.#gone) return;
    this.#gone = true;
    this.#options.memory.release();
    this.#options.onGone();
  }
}

const sum = (results: readonly ReceivedResult[]): number =>
  results.reduce((bytes, result) => bytes + result.bytes, 0);
