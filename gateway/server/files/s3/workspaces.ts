/** Packed files of sessions in the bucket, for the hosts of a fleet: `workspaces/<session>/<object>`. */
import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import { Bucket, type BucketPlace } from "./bucket.ts";
import { UNDER } from "./layout.ts";

export class S3Workspaces {
  readonly #bucket: Bucket;

  /** The client stays the file store's, which ends it. */
  constructor(place: BucketPlace, client: S3Client) {
    this.#bucket = new Bucket(client, place);
  }

  async put(key: string, bytes: AsyncIterable<Uint8Array>): Promise<number> {
    const upload = this.#bucket.upload(`${UNDER.workspaces}${key}`);
    try {
      let size = 0;
      for await (const chunk of bytes) {
        size += chunk.length;
        await upload.write(chunk);
      }
      await upload.end();
      return size;
    } catch (error) {
      // Should the store not answer now, the sweep removes it later.
      await upload.abort().catch(() => {});
      throw error;
    }
  }

  get(key: string): Promise<Readable | null> {
    return this.#bucket.get(`${UNDER.workspaces}${key}`);
  }

  async newestUnder(prefix: string): Promise<string | null> {
    let newest: { readonly key: string; readonly modifiedMs: number } | null = null;
    for await (const page of this.#bucket.list(`${UNDER.workspaces}${prefix}`)) {
      for (const one of page) if (newest === null || one.modifiedMs >= newest.modifiedMs) newest = one;
    }
    return newest?.key.slice(UNDER.workspaces.length) ?? null;
  }

  delete(key: string): Promise<void> {
    return this.#bucket.delete(`${UNDER.workspaces}${key}`);
  }

  async deleteUnder(prefix: string): Promise<void> {
    for await (const page of this.#bucket.list(`${UNDER.workspaces}${prefix}`)) {
      await this.#bucket.deleteAll(page.map(({ key }) => key));
    }
  }

  async sweep(olderThanMs: number): Promise<void> {
    const before = Date.now() - olderThanMs;
    for await (const page of this.#bucket.list(UNDER.workspaces)) {
      await this.#bucket.deleteAll(page.flatMap(({ key, modifiedMs }) => (modifiedMs < before ? [key] : [])));
    }
    for await (const upload of this.#bucket.openUploads(UNDER.workspaces)) {
      if (upload.begunMs < before) await this.#bucket.abortUpload(upload);
    }
  }
}
