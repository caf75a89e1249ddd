/** The tool calls of one program: a batch comes, the call's clock stands still, the results go back. */
import { MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { Deadline } from "./deadline.ts";
import { type FrameWriter, pieces } from "./frame-writer.ts";
import type { Message, RunRequest } from "./run.ts";
import { Violation } from "./violation.ts";

/** JSON of one batch of tool calls. */
const MAX_TOOL_CALLS_BYTES = 5 * 1024 * 1024;

interface IncomingCalls {
  readonly id: string;
  /** As long as was announced: pieces are copied, so that a small one does not keep the read that it came in. */
  readonly bytes: Buffer;
  received: number;
}

export interface ToolExchangeOptions {
  readonly onToolCalls: NonNullable<RunRequest["onToolCalls"]>;
  readonly writer: FrameWriter;
  readonly deadline: Deadline;
  /** The calls cannot be answered: the program is to be interrupted. */
  readonly onFailure: () => void;
  /** What the sandbox sent is not what it said. */
  readonly onViolation: (violation: Violation) => void;
}

export class ToolExchange {
  readonly #options: ToolExchangeOptions;
  #incoming: IncomingCalls | null = null;
  /** The program waits for results, and its clock with it. */
  #waiting = false;
  #abandoned = false;

  constructor(options: ToolExchangeOptions) {
    this.#options = options;
  }

  /** A batch has begun and not ended. */
  get open(): boolean {
    return this.#incoming !== null;
  }

  begin(message: Message<"tool_call_request">, body: Buffer): void {
    if (this.#waiting) throw new Violation("tool_call_request within a transfer");
    const bytes = message.content.calls_bytes;
    if (bytes > MAX_TOOL_CALLS_BYTES) throw new Violation("tool calls beyond their limit");
    this.#incoming = { id: message.msg_id, bytes: Buffer.allocUnsafeSlow(bytes), received: 0 };
    this.#add(this.#incoming, body);
  }

  /** False: the chunk belongs to something else. */
  onChunk(message: Message<"chunk">, body: Buffer): boolean {
    if (this.#incoming === null || message.parent_id !== this.#incoming.id) return false;
    if (body.length === 0) throw new Violation("an empty piece of tool calls");
    this.#add(this.#incoming, body);
    return true;
  }

  /** No more results are sent and no clock is held: the call is ending, or was interrupted. */
  abandon(): void {
    this.#abandoned = true;
    this.#waiting = false;
  }

  #add(incoming: IncomingCalls, body: Buffer): void {
    const { bytes, received } = incoming;
    if (received + body.length > bytes.length) throw new Violation("tool calls longer than announced");
    body.copy(bytes, received);
    incoming.received += body.length;
    if (incoming.received < bytes.length) return;
    this.#incoming = null;
    // A sandbox that asks again after its interrupt must not stop the clock of its end.
    if (!this.#abandoned) void this.#answer(incoming.id, bytes);
  }

  async #answer(requestId: string, calls: Buffer): Promise<void> {
    const { onToolCalls, writer, deadline, onFailure, onViolation } = this.#options;
    const leftMs = deadline.leftMs;
    deadline.stop();
    this.#waiting = true;
    let results: readonly Buffer[];
    try {
      results = await onToolCalls(calls);
    } catch (error) {
      if (error instanceof Violation) onViolation(error);
      else if (!this.#abandoned) onFailure();
      return;
    }
    if (this.#abandoned) return;
    this.#waiting = false;
    deadline.set(leftMs);
    const bytes = results.reduce((sum, piece) => sum + piece.length, 0);
    const id = writer.newId();
    const [first = EMPTY, ...rest] = frameBodies(results);
    writer.send(
      { msg_type: "tool_reply", msg_id: id, parent_id: requestId, content: { results_bytes: bytes } },
      first,
    );
    await writer.sendChunks(id, rest);
  }
}

const EMPTY = Buffer.alloc(0);

/** The same bytes in as few pieces as frames can carry, without a copy of them all. */
function* frameBodies(parts: readonly Buffer[]): Generator<Buffer> {
  let small: Buffer[] = [];
  let bytes = 0;
  for (const part of parts) {
    if (bytes + part.length > MAX_BODY_BYTES && bytes > 0) {
      yield Buffer.concat(small);
      [small, bytes] = [[], 0];
    }
    if (part.length > MAX_BODY_BYTES) {
      yield* pieces(part, 0, MAX_BODY_BYTES);
    } else {
      small.push(part);
      bytes += part.length;
    }
  }
  if (bytes > 0) yield Buffer.concat(small);
}
