/** The tool calls of one program: a batch comes, the call's clock stands still, the results go back. */
import { z } from "@hono/zod-openapi";
import { MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { Deadline } from "./deadline.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Message, RunRequest, ToolResult } from "./run.ts";
import { Violation } from "./violation.ts";

/** JSON of one batch of tool calls. */
const MAX_TOOL_CALLS_BYTES = 5 * 1024 * 1024;

const ToolCalls = z
  .array(z.object({ id: z.string().regex(/^call_\d{3,6}$/), name: z.string().max(256), input: z.unknown() }))
  .min(1)
  .max(200);
type ToolCalls = z.infer<typeof ToolCalls>;

interface IncomingCalls {
  readonly id: string;
  readonly bytes: number;
  readonly chunks: Buffer[];
  received: number;
}

export interface ToolExchangeOptions {
  readonly onToolCalls: NonNullable<RunRequest["onToolCalls"]>;
  readonly writer: FrameWriter;
  readonly deadline: Deadline;
  /** The calls cannot be answered: the program is to be interrupted. */
  readonly onFailure: () => void;
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
    const incoming: IncomingCalls = { id: message.msg_id, bytes, chunks: [], received: 0 };
    this.#incoming = incoming;
    this.#add(incoming, body);
  }

  /** False: the chunk belongs to something else. */
  onChunk(message: Message<"chunk">, body: Buffer): boolean {
    if (this.#incoming === null || message.parent_id !== this.#incoming.id) return false;
    this.#add(this.#incoming, body);
    return true;
  }

  /** No more results are sent and no clock is held: the call is ending, or was interrupted. */
  abandon(): void {
    this.#abandoned = true;
    this.#waiting = false;
  }

  #add(incoming: IncomingCalls, body: Buffer): void {
    incoming.chunks.push(body);
    incoming.received += body.length;
    if (incoming.received > incoming.bytes) throw new Violation("tool calls longer than announced");
    if (incoming.received < incoming.bytes) return;
    this.#incoming = null;
    let value: unknown;
    try {
      value = JSON.parse(Buffer.concat(incoming.chunks).toString("utf8"));
    } catch {
      throw new Violation("tool calls that are not JSON");
    }
    const parsed = ToolCalls.safeParse(value);
    if (!parsed.success) throw new Violation("tool calls that are not of the protocol");
    // A sandbox that asks again after its interrupt must not stop the clock of its end.
    if (!this.#abandoned) void this.#answer(incoming.id, parsed.data);
  }

  async #answer(requestId: string, calls: ToolCalls): Promise<void> {
    const { onToolCalls, writer, deadline, onFailure } = this.#options;
    const leftMs = deadline.leftMs;
    deadline.stop();
    this.#waiting = true;
    let results: readonly ToolResult[];
    try {
      results = await onToolCalls(calls);
    } catch {
      if (!this.#abandoned) onFailure();
      return;
    }
    if (this.#abandoned) return;
    this.#waiting = false;
    deadline.set(leftMs);
    const bytes = Buffer.from(JSON.stringify(results));
    const id = writer.newId();
    writer.send(
      { msg_type: "tool_reply", msg_id: id, parent_id: requestId, content: { results_bytes: bytes.length } },
      bytes.subarray(0, MAX_BODY_BYTES),
    );
    await writer.sendRest(id, bytes);
  }
}
