/** The data directory as a whole, on its way out of a sandbox or into one: a tar archive that nobody here looks into. */
import { Readable } from "node:stream";
import { MAX_BODY_BYTES } from "../../common/protocol/frames.ts";
import type { SandboxMessage } from "../../common/protocol/messages.ts";
import type { FrameReader } from "./frame-reader.ts";
import { type FrameWriter, pieces } from "./frame-writer.ts";
import type { Message } from "./run.ts";
import { Violation } from "./violation.ts";

const CHUNK_BYTES = 256 * 1024;

export interface WorkspaceReading {
  /** The archive and, before that, the files on the sandbox's disk may take so much. */
  readonly maxBytes: number;
  /** Of what the asker has; null: nothing. */
  readonly unless: string | null;
  /** Takes the archive, at its own pace. Called once, or not at all. */
  readonly take: (archive: Readable) => Promise<void>;
}

export type WorkspaceRead =
  /** `stamp`: for `unless`; null: it is not known what it would be. `leftOut`: for a person, what is not in it. */
  | { readonly kind: "read"; readonly stamp: string | null; readonly leftOut: string | null }
  | { readonly kind: "unchanged" }
  | { readonly kind: "too_large"; readonly bytes: number }
  | { readonly kind: "failed"; readonly reason: string };

/** `way`: the archive or the sandbox broke off; `files`: the sandbox cannot have them. */
export interface UnpackFailure {
  readonly of: "way" | "files";
  readonly reason: string;
}

/** What a conversation needs to know of a transfer that has it for itself. */
export interface WorkspaceTransfer {
  handle(message: SandboxMessage, body: Buffer): void;
  /** The conversation ended. */
  end(reason: Error): void;
}

export class WorkspaceReader implements WorkspaceTransfer {
  /** Never rejects; resolves when the taker has what came. */
  readonly done: Promise<WorkspaceRead>;
  readonly #id: string;
  readonly #options: WorkspaceReading;
  readonly #reader: FrameReader;
  readonly #done = Promise.withResolvers<WorkspaceRead>();
  #archive: Readable | null = null;
  /** Null while it takes, or has taken, without failing. */
  #failed: string | null = null;
  #taken: Promise<void> = Promise.resolve();
  #received = 0;

  constructor(writer: FrameWriter, reader: FrameReader, options: WorkspaceReading) {
    this.#id = writer.newId();
    this.#options = options;
    this.#reader = reader;
    this.done = this.#done.promise;
    const { maxBytes, unless } = options;
    writer.send({
      msg_type: "workspace_read_request",
      msg_id: this.#id,
      content: { max_bytes: maxBytes, unless },
    });
  }

  handle(message: SandboxMessage, body: Buffer): void {
    if (!("parent_id" in message) || message.parent_id !== this.#id)
      throw new Violation(`${message.msg_type} within an archive`);
    if (message.msg_type === "chunk") this.#onChunk(message.content ?? {}, body);
    else if (message.msg_type === "workspace_read_reply") this.#onReply(message.content);
    else throw new Violation(`${message.msg_type} within an archive`);
  }

  end(reason: Error): void {
    this.#archive?.destroy(reason);
    this.#done.resolve({ kind: "failed", reason: reason.message });
  }

  #onChunk({ aborted, last }: NonNullable<Message<"chunk">["content"]>, body: Buffer): void {
    this.#received += body.length;
    if (this.#received > this.#options.maxBytes + MAX_BODY_BYTES)
      throw new Violation("an archive beyond its limit");
    const archive = this.#archive ?? this.#begin();
    if (aborted === true) archive.destroy(new Error("the archive was not finished"));
    if (archive.destroyed) return;
    if (body.length > 0 && !archive.push(body)) this.#reader.block("room");
    if (last === true) archive.push(null);
  }

  #begin(): Readable {
    const archive = new Readable({ read: () => this.#reader.unblock("room"), highWaterMark: MAX_BODY_BYTES });
    archive.on("error", () => {});
    this.#archive = archive;
    this.#taken = this.#options.take(archive).catch((error: unknown) => {
      this.#failed ??= error instanceof Error ? error.message : String(error);
      archive.destroy();
      this.#reader.unblock("room");
    });
    return archive;
  }

  #onReply({ bytes, message, stamp, status }: Message<"workspace_read_reply">["content"]): void {
    const taken = this.#taken;
    switch (status) {
      case "ok":
        if (this.#archive === null) throw new Violation("an archive without content");
        void taken.then(() =>
          this.#done.resolve(
            this.#failed === null
              ? { kind: "read", stamp: stamp ?? null, leftOut: message ?? null }
              : { kind: "failed", reason: this.#failed },
          ),
        );
        break;
      case "error":
        this.#archive?.destroy(new Error("the archive was not finished"));
        void taken.then(() =>
          this.#done.resolve({ kind: "failed", reason: message ?? "it cannot be packed" }),
        );
        break;
      default:
        if (this.#archive !== null) throw new Violation(`${status} after an archive`);
        this.#done.resolve(status === "unchanged" ? { kind: status } : { kind: status, bytes: bytes ?? 0 });
    }
  }
}

export class WorkspaceWriter implements WorkspaceTransfer {
  /** Never rejects. */
  readonly done: Promise<UnpackFailure | null>;
  readonly #id: string;
  readonly #writer: FrameWriter;
  readonly #source: Readable;
  readonly #done = Promise.withResolvers<UnpackFailure | null>();
  #sourceFailed: UnpackFailure | null = null;
  #over = false;

  constructor(writer: FrameWriter, source: Readable) {
    this.#id = writer.newId();
    this.#writer = writer;
    this.#source = source;
    this.done = this.#done.promise;
    writer.send({ msg_type: "workspace_write_request", msg_id: this.#id });
    void this.#send();
  }

  handle(message: SandboxMessage): void {
    if (message.msg_type !== "workspace_write_reply" || message.parent_id !== this.#id)
      throw new Violation(`${message.msg_type} within an archive`);
    const { message: reason, status } = message.content;
    this.#finish(
      this.#sourceFailed ??
        (status === "ok" ? null : { of: "files", reason: reason ?? "they cannot be unpacked" }),
    );
  }

  end(reason: Error): void {
    this.#finish(this.#sourceFailed ?? { of: "way", reason: reason.message });
  }

  #finish(failed: UnpackFailure | null): void {
    this.#over = true;
    this.#source.destroy();
    this.#done.resolve(failed);
  }

  async #send(): Promise<void> {
    const chunk = { msg_type: "chunk", parent_id: this.#id } as const;
    try {
      for await (const value of this.#source) {
        const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
        for (const piece of pieces(bytes, 0, CHUNK_BYTES)) {
          if (this.#over) return;
          if (!this.#writer.send(chunk, piece)) await this.#writer.drained();
        }
      }
      if (!this.#over) this.#writer.send({ ...chunk, content: { last: true } });
    } catch (error) {
      if (this.#over) return;
      this.#sourceFailed = { of: "way", reason: error instanceof Error ? error.message : String(error) };
      this.#writer.send({ ...chunk, content: { aborted: true } });
    }
  }
}
