/** `AuditObjects` in a bucket of any S3-compatible store. */
import { S3ServiceException } from "@aws-sdk/client-s3";
import { Bucket, type BucketPlace, newClient } from "../../files/s3/bucket.ts";
import { type AuditObjects, ObjectChanged } from "./objects.ts";

/** What a store says when an object is not the one that was meant: S3, and while two write at once. */
const CHANGED = new Set(["PreconditionFailed", "ConditionalRequestConflict"]);

export class S3AuditObjects implements AuditObjects {
  readonly #bucket: Bucket;

  constructor(place: BucketPlace) {
    this.#bucket = new Bucket(newClient(place), place);
  }

  list(under: string, options: { after?: string; signal: AbortSignal }) {
    return this.#bucket.list(under, options);
  }

  async put(
    key: string,
    bytes: AsyncIterable<Uint8Array>,
    options: { match?: string; signal: AbortSignal },
  ): Promise<{ versioned: boolean }> {
    const upload = this.#bucket.upload(key, options);
    try {
      for await (const chunk of bytes) await upload.write(chunk);
      const version = await upload.end();
      return { versioned: version !== null && version !== "null" };
    } catch (error) {
      // Should the store not answer now: the next process of this host gives it up, or the bucket's lifecycle.
      await upload.giveUp().catch(() => {});
      throw changed(error);
    }
  }

  async open(key: string, options: { match?: string; signal: AbortSignal }) {
    try {
      const found = await this.#bucket.open(key, options);
      return found === null ? null : { bytes: found.body, tag: found.etag };
    } catch (error) {
      throw changed(error);
    }
  }

  async dropUnfinished(under: string, signal: AbortSignal): Promise<void> {
    for await (const upload of this.#bucket.openUploads(under)) {
      signal.throwIfAborted();
      await this.#bucket.abortUpload(upload);
    }
  }

  close(): void {
    this.#bucket.close();
  }
}

function changed(error: unknown): unknown {
  if (!(error instanceof S3ServiceException) || !CHANGED.has(error.name)) return error;
  return new ObjectChanged(error.message, { cause: error });
}
