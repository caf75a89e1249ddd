/** One S3 client on one bucket: objects, listings, deletions, and what the store's errors mean. Keys are without the prefix. */
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { type ByteRange, FileStoreError } from "../store.ts";
import { Upload, type UploadOptions } from "./upload.ts";

/** A record is a few hundred bytes; names are bounded elsewhere. */
const MAX_RECORD_BYTES = 64 * 1024;
/** Requests of one operation that are on their way together. */
const CONCURRENCY = 16;
const SOCKETS = 256;
const CONNECT_MS = 5000;
/** Nothing moves on a connection. */
const SILENCE_MS = 120_000;
/** Keys that a listing or a deletion takes at once, S3's limit. */
export const PAGE_KEYS = 1000;

export interface BucketPlace {
  readonly bucket: string;
  /** Before every key; empty, or ending in `/`. */
  readonly prefix: string;
  readonly region: string;
  /** Absent: AWS. A store elsewhere is addressed by path. */
  readonly endpoint?: string | undefined;
}

export interface Listed {
  readonly key: string;
  readonly modifiedMs: number;
  readonly bytes: number;
}

/** An upload in parts that has begun and not ended. */
export interface OpenUpload {
  readonly key: string;
  readonly id: string;
  readonly begunMs: number;
}

export class Bucket {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  /** Takes the client over: `close` ends it. */
  constructor(client: S3Client, { bucket, prefix }: Pick<BucketPlace, "bucket" | "prefix">) {
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  upload(key: string, options?: UploadOptions): Upload {
    return new Upload(this.#client, this.#object(key), options);
  }

  /** An object with its ETag; null when there is none. */
  async open(
    key: string,
    { match, signal }: UploadOptions,
  ): Promise<{ readonly body: Readable; readonly etag: string } | null> {
    const found = await orNull(() =>
      this.#client.send(
        new GetObjectCommand({ ...this.#object(key), ...(match === undefined ? {} : { IfMatch: match }) }),
        signal === undefined ? {} : { abortSignal: signal },
      ),
    );
    if (found === null) return null;
    const { Body: body, ETag: etag } = found;
    if (!(body instanceof Readable) || etag === undefined) throw new Error(`${key} came without a stream`);
    return { body, etag };
  }

  /** Null when there is no such object. */
  async get(key: string, range?: ByteRange): Promise<Readable | null> {
    const found = await orNull(() =>
      this.#client.send(
        new GetObjectCommand({
          ...this.#object(key),
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` }),
        }),
      ),
    );
    if (!found) return null;
    if (!(found.Body instanceof Readable)) throw new Error(`${key} came without a stream`);
    return found.Body;
  }

  /** Null when there is no such object. */
  async getJson(key: string): Promise<unknown> {
    const body = await this.get(key);
    if (!body) return null;
    const parts: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      const part = Buffer.from(chunk);
      size += part.length;
      if (size > MAX_RECORD_BYTES) throw new Error(`${key} in ${this.#bucket} is no record of a file`);
      parts.push(part);
    }
    const parsed: unknown = JSON.parse(Buffer.concat(parts).toString());
    return parsed;
  }

  async putJson(key: string, value: object): Promise<void> {
    const Body = JSON.stringify(value);
    await orNull(() =>
      this.#client.send(
        new PutObjectCommand({ ...this.#object(key), Body, ContentType: "application/json" }),
      ),
    );
  }

  async has(key: string): Promise<boolean> {
    return (await orNull(() => this.#client.send(new HeadObjectCommand(this.#object(key))))) !== null;
  }

  async delete(key: string): Promise<void> {
    await orNull(() => this.#client.send(new DeleteObjectCommand(this.#object(key))));
  }

  /** In the given order, a page at a time. */
  async deleteAll(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += PAGE_KEYS) {
      const Objects = keys.slice(at, at + PAGE_KEYS).map((key) => ({ Key: this.#prefix + key }));
      const { Errors } = await this.#client.send(
        new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Quiet: true, Objects } }),
      );
      const failed = Errors?.find(({ Code }) => Code !== "NoSuchKey");
      if (failed)
        throw new Error(`${failed.Key} in ${this.#bucket} was not deleted: ${failed.Code} ${failed.Message}`);
    }
  }

  /** Everything whose key begins so, in the order of the keys, a page at a time. */
  async *list(
    under: string,
    { after, signal }: { readonly after?: string | undefined; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<readonly Listed[]> {
    let token: string | undefined;
    do {
      const page = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.#bucket,
          Prefix: this.#prefix + under,
          MaxKeys: PAGE_KEYS,
          ...(after === undefined ? {} : { StartAfter: this.#prefix + after }),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        signal === undefined ? {} : { abortSignal: signal },
      );
      yield (page.Contents ?? []).flatMap(({ Key, LastModified, Size }) =>
        Key === undefined || LastModified === undefined
          ? []
          : [{ key: Key.slice(this.#prefix.length), modifiedMs: LastModified.getTime(), bytes: Size ?? 0 }],
      );
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** Uploads in parts that nobody has ended yet. */
  async *openUploads(under: string): AsyncGenerator<OpenUpload> {
    let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
    for (;;) {
      const page = await this.#client.send(
        new ListMultipartUploadsCommand({
          Bucket: this.#bucket,
          Prefix: this.#prefix + under,
          MaxUploads: PAGE_KEYS,
          ...marker,
        }),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue;
        const begunMs = Initiated?.getTime() ?? Number.POSITIVE_INFINITY;
        yield { key: Key.slice(this.#prefix.length), id: UploadId, begunMs };
      }
      if (page.IsTruncated !== true) return;
      marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  async abortUpload({ key, id }: OpenUpload): Promise<void> {
    await this.#client.send(new AbortMultipartUploadCommand({ ...this.#object(key), UploadId: id }));
  }

  close(): void {
    this.#client.destroy();
  }

  #object(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }
}

/** Nothing is asked of the store yet. */
export function newClient({ endpoint, region }: BucketPlace): S3Client {
  return new S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    // Not every compatible store knows the newer checksums; AWS checks every upload by one.
    requestChecksumCalculation: endpoint === undefined ? "WHEN_SUPPORTED" : "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: 3,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      httpAgent: { maxSockets: SOCKETS },
      httpsAgent: { maxSockets: SOCKETS },
    },
  });
}

/**
 * A client that has reached the bucket. Whatever code the SDK loads late (its providers of credentials) is loaded then.
 * Throws `FileStoreError` `unreachable` when the bucket cannot be listed: wrong name, credentials or network.
 */
export async function connectS3(place: BucketPlace): Promise<S3Client> {
  const { endpoint } = place;
  const client = newClient(place);
  try {
    await client.send(new ListObjectsV2Command({ Bucket: place.bucket, Prefix: place.prefix, MaxKeys: 1 }));
  } catch (error) {
    client.destroy();
    const at = endpoint === undefined ? `region ${place.region}` : endpoint;
    throw new FileStoreError(
      "unreachable",
      `the bucket ${place.bucket} at ${at} cannot be used (${reason(error)}): check KERNELYARD_S3_BUCKET, KERNELYARD_S3_REGION and KERNELYARD_S3_ENDPOINT, and that the credentials of AWS's default chain may list, read, write and delete there`,
      { cause: error },
    );
  }
  return client;
}

/** Stops starting more at the first failure, and waits for those on their way before it throws. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) {
      if (failures.length > 0) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}

/** Null when there is no such object. */
async function orNull<T>(request: () => Promise<T>): Promise<T | null> {
  try {
    return await request();
  } catch (error) {
    if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) {
      if (error.name === "NoSuchKey" || error.name === "NotFound") return null;
    }
    throw translate(error);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** What the stores that have a limit say when it is reached. */
const FULL = new Set(["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"]);

/** A full store in our words; every other error as it is. */
export function translate(error: unknown): unknown {
  if (!(error instanceof S3ServiceException)) return error;
  if (!FULL.has(error.name) && error.$metadata.httpStatusCode !== 507) return error;
  return new FileStoreError(
    "storage_full",
    "no space left for files: raise the quota of the bucket (KERNELYARD_S3_BUCKET) or shorten KERNELYARD_FILE_TTL_MS",
    { cause: error },
  );
}
