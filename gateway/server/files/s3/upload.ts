/** Bytes on their way into one object of the bucket. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { countTransfer } from "../../../common/transfer-memory.ts";

/** S3 takes 10,000 parts, so 80 GB: more than the largest file allowed. */
const PART_BYTES = 8 * 1024 * 1024;
const FIRST_BYTES = 64 * 1024;
/** The most that one transfer holds in memory: the part that is gathered, and half of it while it grows. */
export const UPLOAD_BYTES = PART_BYTES + PART_BYTES / 2;

export interface UploadOptions {
  /** Only in the place of the object that has this ETag. */
  readonly match?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** At once when it is small, in parts otherwise. Holds one part; the source waits while it is sent. */
export class Upload {
  readonly #client: S3Client;
  readonly #object: { readonly Bucket: string; readonly Key: string };
  readonly #only: { readonly IfMatch?: string };
  readonly #sending: { readonly abortSignal?: AbortSignal };
  readonly #parts: { PartNumber: number; ETag: string }[] = [];
  #uploadId: string | null = null;
  #part: Buffer = Buffer.alloc(0);
  #filled = 0;
  #written = false;

  constructor(
    client: S3Client,
    object: { readonly Bucket: string; readonly Key: string },
    { match, signal }: UploadOptions = {},
  ) {
    this.#client = client;
    this.#object = object;
    this.#only = match === undefined ? {} : { IfMatch: match };
    this.#sending = signal === undefined ? {} : { abortSignal: signal };
  }

  /** Copies: a sender of single bytes would cost an object and a whole read for each. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(chunk.length - at, PART_BYTES - this.#filled);
      this.#reserve(this.#filled + taken);
      this.#part.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled === PART_BYTES) await this.#sendPart();
    }
  }

  /** The object's version; null where the bucket keeps none. */
  async end(): Promise<string | null> {
    if (this.#uploadId === null) {
      this.#written = true;
      const { VersionId } = await this.#client.send(
        new PutObjectCommand({ ...this.#object, ...this.#only, Body: this.#take() }),
        this.#sending,
      );
      return VersionId ?? null;
    }
    if (this.#filled > 0) await this.#sendPart();
    const { VersionId } = await this.#client.send(
      new CompleteMultipartUploadCommand({
        ...this.#object,
        ...this.#only,
        UploadId: this.#uploadId,
        MultipartUpload: { Parts: this.#parts },
      }),
      this.#sending,
    );
    return VersionId ?? null;
  }

  /** Leaves the object that was there before. */
  async giveUp(): Promise<void> {
    if (this.#uploadId === null) return;
    await this.#client.send(new AbortMultipartUploadCommand({ ...this.#object, UploadId: this.#uploadId }));
  }

  /** Leaves nothing, whether the end was reached or not. */
  async abort(): Promise<void> {
    if (this.#uploadId !== null) {
      await this.#client
        .send(new AbortMultipartUploadCommand({ ...this.#object, UploadId: this.#uploadId }))
        // Already completed: then there is an object.
        .catch(ignore);
      this.#written = true;
    }
    if (this.#written) await this.#client.send(new DeleteObjectCommand(this.#object));
  }

  async #sendPart(): Promise<void> {
    const Body = this.#take();
    if (this.#uploadId === null) {
      const { UploadId } = await this.#client.send(
        new CreateMultipartUploadCommand(this.#object),
        this.#sending,
      );
      if (UploadId === undefined) throw new Error("the store began an upload without naming it");
      this.#uploadId = UploadId;
    }
    const PartNumber = this.#parts.length + 1;
    const { ETag } = await this.#client.send(
      new UploadPartCommand({ ...this.#object, UploadId: this.#uploadId, PartNumber, Body }),
      this.#sending,
    );
    if (ETag === undefined) throw new Error("the store took a part without naming it");
    this.#parts.push({ PartNumber, ETag });
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#part.length) return;
    const larger = Buffer.allocUnsafeSlow(
      Math.min(PART_BYTES, Math.max(bytes, FIRST_BYTES, 2 * this.#part.length)),
    );
    this.#part.copy(larger, 0, 0, this.#filled);
    this.#part = larger;
  }

  /** The same memory is filled again when this has been sent. */
  #take(): Buffer {
    const body = this.#part.subarray(0, this.#filled);
    this.#filled = 0;
    countTransfer(body.length);
    return body;
  }
}

function ignore(): void {}
