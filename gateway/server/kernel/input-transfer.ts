/** Writes a call's inputs into the data directory, one after another, before its code runs. */
import type { Readable } from "node:stream";
import { type FrameWriter, pieces } from "./frame-writer.ts";
import type { InputFailure, InputFile, Message, RunRequest } from "./run.ts";
import { Violation } from "./violation.ts";

const CHUNK_BYTES = 256 * 1024;

export class InputTransfer {
  readonly #writer: FrameWriter;
  readonly #signal: AbortSignal;
  /** A session's directory is as its code left it, and only its code can make room there. */
  readonly #runsAnyhow: boolean;
  /** Writes that the sandbox has yet to answer. */
  readonly #answers = new Map<string, PromiseWithResolvers<string | null>>();
  /** The input that is being read. */
  #source: Readable | null = null;
  #ended = false;

  constructor(writer: FrameWriter, request: Pick<RunRequest, "script" | "signal">) {
    this.#writer = writer;
    this.#signal = request.signal;
    this.#runsAnyhow = request.script !== true;
  }

  /** The first input that could not be written, or null. Every write is answered before this resolves. Never rejects. */
  async write(inputs: readonly InputFile[]): Promise<InputFailure | null> {
    const answers: Promise<void>[] = [];
    let failed: InputFailure | null = null;
    for (const input of inputs) {
      if (failed !== null || this.#signal.aborted || this.#ended) break;
      const id = this.#writer.newId();
      const answer = Promise.withResolvers<string | null>();
      this.#answers.set(id, answer);
      answers.push(
        answer.promise.then((message) => {
          if (message !== null) failed ??= { path: input.path, message };
        }),
      );
      const broken = await this.#writeOne(id, input);
      if (broken !== null) failed ??= { path: input.path, message: broken };
    }
    await Promise.all(answers);
    return failed;
  }

  onReply(message: Message<"file_write_reply">): void {
    const answer = this.#answers.get(message.parent_id);
    if (answer === undefined) throw new Violation("file_write_reply to nothing");
    this.#answers.delete(message.parent_id);
    const { status, message: reason, left_out } = message.content;
    const runs = status === "ok" || left_out === "taken" || (left_out === "unwritable" && this.#runsAnyhow);
    answer.resolve(runs ? null : (reason ?? "cannot be written"));
  }

  /** The caller hung up: a source that stalls is not waited for. */
  abort(): void {
    this.#source?.destroy(new Error("the caller hung up"));
  }

  /** The conversation ended: nobody answers any more. */
  end(detail: string): void {
    this.#ended = true;
    for (const answer of this.#answers.values()) answer.resolve(detail);
    this.#answers.clear();
  }

  /** Why the source failed, or null. */
  async #writeOne(id: string, input: InputFile): Promise<string | null> {
    this.#writer.send({
      msg_type: "file_write_request",
      msg_id: id,
      content: { path: input.path, size: input.size, read_only: input.readOnly },
    });
    let source: Readable | null = null;
    try {
      source = input.open();
      this.#source = source;
      for await (const value of source) {
        const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
        for (const piece of pieces(bytes, 0, CHUNK_BYTES)) {
          if (this.#ended) return null;
          if (this.#signal.aborted) throw new Error("the caller hung up");
          if (!this.#writer.send({ msg_type: "chunk", parent_id: id }, piece)) await this.#writer.drained();
        }
      }
      this.#writer.send({ msg_type: "chunk", parent_id: id, content: { last: true } });
      return null;
    } catch (error) {
      this.#writer.send({ msg_type: "chunk", parent_id: id, content: { aborted: true } });
      return error instanceof Error ? error.message : String(error);
    } finally {
      source?.destroy();
      this.#source = null;
    }
  }
}
