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

/** The most that one transfer holds in memory. S3 takes 10,000 parts, so 80 GB: more than the largest file allowed. */
const PART_BYTES = 8 * 1024 * 1024;

/** At once when it is small, in parts otherwise. Holds one part; the source waits meanwhile. */
export class Upload {
  readonly #client: S3Client;
  readonly #object: { readonly Bucket: string; readonly Key: string };
  readonly #parts: { PartNumber: number; ETag: string }[] = [];
  #uploadId: string | null = null;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #written = false;

  constructor(client: S3Client, object: { readonly Bucket: string; readonly Key: string }) {
    this.#client = client;
    this.#object = object;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes >= PART_BYTES) await this.#sendPart();
  }

  async end(): Promise<void> {
    if (this.#uploadId === null) {
      this.#written = true;
      await this.#client.send(new PutObjectCommand({ ...this.#object, Body: this.#take() }));
      return;
    }
    if (this.#gatheredBytes > 0) await this.#sendPart();
    await this.#client.send(
      new CompleteMultipartUploadCommand({
        ...this.#object,
        UploadId: this.#uploadId,
        MultipartUpload: { Parts: this.#parts },
      }),
    );
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
      const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand(this.#object));
      if (UploadId === undefined) throw new Error("the store began an upload without naming it");
      this.#uploadId = UploadId;
    }
    const PartNumber = this.#parts.length + 1;
    const { ETag } = await this.#client.send(
      new UploadPartCommand({ ...this.#object, UploadId: this.#uploadId, PartNumber, Body }),
    );
    if (ETag === undefined) throw new Error("the store took a part without naming it");
    this.#parts.push({ PartNumber, ETag });
  }

  #take(): Buffer {
    const body = Buffer.concat(this.#gathered, this.#gatheredBytes);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    countTransfer(body.length);
    return body;
  }
}

function ignore(): void {}
