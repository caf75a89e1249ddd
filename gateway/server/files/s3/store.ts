/**
 * `FileStore` on a bucket of any S3-compatible store. Gateways on several hosts may share one bucket and prefix.
 *
 *   content/<id>                  bytes of a file
 *   sessions/<session>/<id>.json  what a session lists: its own files, and links (`{"link":{"owner","name"}}`)
 *   files/<id>.json               the record; a file exists exactly while this object does
 *
 * Order of a commit: content (already by `stage`) → entries of the session → records. Every write is durable and seen by
 * every reader when the store has answered (S3 is strongly consistent). Dying in between leaves content or entries
 * without a record, which nothing shows and the sweep removes.
 *
 * S3 has no transaction over several objects. A batch that fails is taken back before the caller hears of it; a reader
 * who lists the session while it is written, or a process that dies between its records, may leave a part of it visible:
 * whole files, of a batch that nobody was told about.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { z } from "@hono/zod-openapi";
import { isId, newId } from "../../../common/ids.ts";
import { countTransfer } from "../../../common/transfer-memory.ts";
import { KINDS } from "../ownership.ts";
import {
  type ByteRange,
  type FileLink,
  type FileRecord,
  type FileStore,
  FileStoreError,
  MAX_LISTED_FILES,
  type NewFile,
  type SessionFile,
  type StagedFile,
  type SweepResult,
} from "../store.ts";

/** The most that one transfer holds in memory. S3 takes 10,000 parts, so 80 GB: more than the largest file allowed. */
const PART_BYTES = 8 * 1024 * 1024;
/** A record is a few hundred bytes; names are bounded elsewhere. */
const MAX_RECORD_BYTES = 64 * 1024;
/** Requests of one operation that are on their way together. */
const CONCURRENCY = 16;
const SOCKETS = 256;
const CONNECT_MS = 5000;
/** Nothing moves on a connection. */
const SILENCE_MS = 120_000;
const CLOSE_MS = 5000;
/** Keys that a listing or a deletion takes at once, S3's limit. */
const PAGE_KEYS = 1000;
/**
 * Bytes may wait this long between the start of `stage` and the end of `commit`. Other gateways' unfinished files cannot
 * be told from lost ones, so the sweep takes only what is twice as old.
 */
const STAGED_MS = 3 * 3_600_000;
/** S3 refuses a clock that is further off. `find` goes by our clock, the sweep by the store's, this much later. */
const SKEW_MS = 15 * 60_000;

export const ORPHAN_AGE_MS = 2 * STAGED_MS;

export interface S3FileStoreOptions {
  readonly bucket: string;
  /** Before every key; empty, or ending in `/`. */
  readonly prefix: string;
  readonly region: string;
  /** Absent: AWS. A store elsewhere is addressed by path. */
  readonly endpoint?: string | undefined;
  /** Time after a file's last write when it is gone. */
  readonly ttlMs: number;
  /** Time between sweeps; the first one starts at once. Absent: only on `sweep()`. */
  readonly sweepEveryMs?: number;
  /** Told when a sweep in the background fails. */
  readonly onSweepError?: (error: unknown) => void;
  readonly now?: () => number;
}

const Record = z.object({
  id: z.string(),
  storageSessionId: z.string(),
  name: z.string(),
  size: z.number(),
  etag: z.string(),
  contentType: z.string(),
  createdAt: z.string(),
  modifiedAt: z.string(),
  owner: z.string(),
  kind: z.enum(KINDS),
  resourceId: z.string().nullable(),
  version: z.number().nullable(),
  readOnly: z.boolean(),
});
const Link = z.object({ link: z.object({ owner: z.string(), name: z.string() }) });

interface Listed {
  readonly key: string;
  readonly modifiedMs: number;
}

export class S3FileStore implements FileStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Ids of this process between the start of `stage` and the end of `commit` or `discard`, and since when. */
  readonly #inFlight = new Map<string, number>();
  #sweeping: Promise<SweepResult> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** Takes the client over: `close` ends it. */
  constructor(options: S3FileStoreOptions, client: S3Client) {
    this.#client = client;
    this.#bucket = options.bucket;
    this.#prefix = options.prefix;
    this.#ttlMs = options.ttlMs;
    this.#now = options.now ?? Date.now;
    if (options.sweepEveryMs !== undefined) {
      const run = () => {
        this.sweep().catch((error: unknown) => {
          if (!this.#closed) options.onSweepError?.(error);
        });
      };
      this.#timer = setInterval(run, options.sweepEveryMs).unref();
      run();
    }
  }

  /** See `connectS3`. */
  static async open(options: S3FileStoreOptions): Promise<S3FileStore> {
    return new S3FileStore(options, await connectS3(options));
  }

  async stage(bytes: AsyncIterable<Uint8Array>, limits: { readonly maxBytes: number }): Promise<StagedFile> {
    this.#assertOpen();
    const id = newId();
    this.#inFlight.set(id, this.#now());
    const upload = new Upload(this.#client, { Bucket: this.#bucket, Key: this.#content(id) });
    try {
      const hash = createHash("sha256");
      let size = 0;
      for await (const chunk of bytes) {
        size += chunk.length;
        if (size > limits.maxBytes) {
          throw new FileStoreError("too_large", `the file is larger than ${limits.maxBytes} bytes`);
        }
        hash.update(chunk);
        await upload.write(chunk);
      }
      await upload.end();
      return { id, size, etag: hash.digest("hex") };
    } catch (error) {
      // Should the store not answer now, the sweep removes it later.
      await upload.abort().catch(ignore);
      this.#inFlight.delete(id);
      throw translate(error);
    }
  }

  async commit(
    files: readonly { readonly staged: StagedFile; readonly file: NewFile }[],
  ): Promise<readonly FileRecord[]> {
    const at = new Date(this.#now()).toISOString();
    const records = files.map(
      ({ staged, file }): FileRecord => ({ ...file, ...staged, createdAt: at, modifiedAt: at }),
    );
    // What is not staged here is not ours to take back either.
    const ours = records.filter(({ id }) => this.#inFlight.has(id));
    try {
      this.#assertOpen();
      for (const { id } of records) {
        const since = this.#inFlight.get(id);
        // Other gateways' sweeps may take it for lost from now on.
        if (since === undefined || this.#now() - since > STAGED_MS) {
          throw new FileStoreError(
            "gone",
            `the staged file ${id} is not, or no longer, there to be committed`,
          );
        }
      }
      await inParallel(records, ({ storageSessionId, id }) =>
        this.#putJson(this.#entry(storageSessionId, id), {}),
      );
      await inParallel(records, (record) => this.#putJson(this.#record(record.id), record));
      return records;
    } catch (error) {
      await this.#delete([
        ...ours.map(({ id }) => this.#record(id)),
        ...ours.map(({ storageSessionId, id }) => this.#entry(storageSessionId, id)),
        ...ours.map(({ id }) => this.#content(id)),
      ]).catch(ignore);
      throw translate(error);
    } finally {
      for (const { id } of records) this.#inFlight.delete(id);
    }
  }

  async discard(staged: StagedFile): Promise<void> {
    try {
      await this.#send(this.#content(staged.id), (Key) =>
        this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key })),
      );
    } finally {
      this.#inFlight.delete(staged.id);
    }
  }

  async find(sessionId: string, fileId: string): Promise<SessionFile | null> {
    this.#assertOpen();
    const record = await this.#live(fileId);
    return record && this.#through(sessionId, record);
  }

  async list(sessionId: string): Promise<readonly SessionFile[]> {
    this.#assertOpen();
    const ids: string[] = [];
    for await (const page of this.#pages(`sessions/${sessionId}/`)) {
      ids.push(...page.map(({ key }) => idOf(key)).filter(isId));
      if (ids.length >= MAX_LISTED_FILES) break;
    }
    const files = await inParallel(ids.slice(0, MAX_LISTED_FILES), (id) => this.find(sessionId, id));
    return files.filter((file) => file !== null).sort(asListed);
  }

  async open(record: FileRecord, range?: ByteRange): Promise<Readable | null> {
    this.#assertOpen();
    return this.#get(this.#content(record.id), range);
  }

  async link(links: readonly FileLink[]): Promise<void> {
    if (links.length === 0) return;
    this.#assertOpen();
    await inParallel(links, async ({ sessionId, fileId, owner, name }) => {
      const record = await this.#live(fileId);
      // Its own session lists it already.
      if (!record || record.storageSessionId === sessionId) return;
      await this.#putJson(this.#entry(sessionId, fileId), { link: { owner, name } });
    });
  }

  /** Two that remove the same file at once may both be told that they did. */
  async remove(sessionId: string, fileId: string): Promise<boolean> {
    const found = await this.find(sessionId, fileId);
    if (!found) return false;
    // A file is gone with its record; links of other sessions show nothing from then on.
    if (!found.linked) await this.#delete([this.#record(fileId)]);
    await this.#delete([this.#entry(sessionId, fileId), ...(found.linked ? [] : [this.#content(fileId)])]);
    return true;
  }

  /** Removes files whose time is over, content without a record, and records without content. One at a time. */
  sweep(): Promise<SweepResult> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = null;
    });
    return this.#sweeping;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#timer) clearInterval(this.#timer);
    // A store that does not answer must not hold up the end; what a sweep leaves, the next one takes.
    await Promise.race([this.#sweeping?.catch(ignore), setTimeout(CLOSE_MS, null, { ref: false })]);
    this.#client.destroy();
  }

  async #sweep(): Promise<SweepResult> {
    this.#assertOpen();
    const now = this.#now();
    const expiredBefore = now - this.#ttlMs - SKEW_MS;
    const lostBefore = now - ORPHAN_AGE_MS;
    let expired = 0;
    let orphanedRecords = 0;
    let orphanedContent = await this.#abortUploads(lostBefore);

    // Both listings come in the order of the ids: they are walked side by side, a page of each in memory.
    const contents = new Cursor(this.#pages("content/"));
    const records = new Cursor(this.#pages("files/"));
    const doomed: string[] = [];
    for (;;) {
      if (this.#closed) break;
      const [content, record] = [await contents.peek(), await records.peek()];
      if (!content && !record) break;
      const contentId = content ? idOf(content.key) : null;
      const recordId = record ? idOf(record.key) : null;
      const order = contentId === null ? 1 : recordId === null ? -1 : compare(contentId, recordId);
      if (order <= 0) contents.next();
      if (order >= 0) records.next();
      if (record && order >= 0 && record.modifiedMs < expiredBefore) {
        // Nobody is served it any more: the order in which they go does not matter.
        doomed.push(record.key);
        if (order === 0 && content) doomed.push(content.key);
        expired += 1;
      } else if (
        content &&
        order < 0 &&
        content.modifiedMs < lostBefore &&
        !this.#inFlight.has(contentId ?? "")
      ) {
        doomed.push(content.key);
        orphanedContent += 1;
      } else if (record && order > 0 && recordId !== null && !(await this.#hasContent(recordId))) {
        doomed.push(record.key);
        orphanedRecords += 1;
      }
      if (doomed.length >= PAGE_KEYS) await this.#delete(doomed.splice(0));
    }
    await this.#delete(doomed.splice(0));

    // An entry or a link is never needed longer than its file, which is older.
    for await (const page of this.#pages("sessions/")) {
      if (this.#closed) break;
      await this.#delete(page.filter(({ modifiedMs }) => modifiedMs < expiredBefore).map(({ key }) => key));
    }
    return { expired, orphanedContent, orphanedRecords };
  }

  /** Uploads in parts whose process died: their parts are paid for and listed nowhere else. */
  async #abortUploads(before: number): Promise<number> {
    let aborted = 0;
    let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
    for (;;) {
      const found = await this.#client.send(
        new ListMultipartUploadsCommand({
          Bucket: this.#bucket,
          Prefix: `${this.#prefix}content/`,
          MaxUploads: PAGE_KEYS,
          ...marker,
        }),
      );
      for (const { Key, UploadId, Initiated } of found.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue;
        if ((Initiated?.getTime() ?? Number.POSITIVE_INFINITY) >= before) continue;
        if (this.#inFlight.has(idOf(Key)) || this.#closed) continue;
        await this.#client.send(new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId }));
        aborted += 1;
      }
      if (found.IsTruncated !== true || this.#closed) return aborted;
      marker = { KeyMarker: found.NextKeyMarker, UploadIdMarker: found.NextUploadIdMarker };
    }
  }

  /** The record, unless its time is over. */
  async #live(fileId: string): Promise<FileRecord | null> {
    const record = Record.nullable().parse(await this.#getJson(this.#record(fileId)));
    return record && Date.parse(record.modifiedAt) >= this.#now() - this.#ttlMs ? record : null;
  }

  async #through(sessionId: string, record: FileRecord): Promise<SessionFile | null> {
    if (record.storageSessionId === sessionId) {
      return { record, sessionId, owner: record.owner, name: record.name, linked: false };
    }
    const entry = await this.#getJson(this.#entry(sessionId, record.id));
    if (entry === null) return null;
    return { record, sessionId, ...Link.parse(entry).link, linked: true };
  }

  async #hasContent(id: string): Promise<boolean> {
    const found = await this.#send(this.#content(id), (Key) =>
      this.#client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key })),
    );
    return found !== null;
  }

  async #putJson(key: string, value: object): Promise<void> {
    await this.#send(key, (Key) =>
      this.#client.send(
        new PutObjectCommand({
          Bucket: this.#bucket,
          Key,
          Body: JSON.stringify(value),
          ContentType: "application/json",
        }),
      ),
    );
  }

  async #getJson(key: string): Promise<unknown> {
    const body = await this.#get(key);
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

  async #get(key: string, range?: ByteRange): Promise<Readable | null> {
    const found = await this.#send(key, (Key) =>
      this.#client.send(
        new GetObjectCommand({
          Bucket: this.#bucket,
          Key,
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` }),
        }),
      ),
    );
    if (!found) return null;
    if (!(found.Body instanceof Readable)) throw new Error(`${key} came without a stream`);
    return found.Body;
  }

  /** Null when there is no such object. */
  async #send<T>(key: string, request: (key: string) => Promise<T>): Promise<T | null> {
    try {
      return await request(key);
    } catch (error) {
      if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) {
        if (error.name === "NoSuchKey" || error.name === "NotFound") return null;
      }
      throw translate(error);
    }
  }

  async *#pages(under: string): AsyncGenerator<readonly Listed[]> {
    let token: string | undefined;
    do {
      const page = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.#bucket,
          Prefix: this.#prefix + under,
          MaxKeys: PAGE_KEYS,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      );
      yield (page.Contents ?? []).flatMap(({ Key, LastModified }) =>
        Key === undefined || LastModified === undefined
          ? []
          : [{ key: Key, modifiedMs: LastModified.getTime() }],
      );
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** In the given order, a page at a time. */
  async #delete(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += PAGE_KEYS) {
      const { Errors } = await this.#client.send(
        new DeleteObjectsCommand({
          Bucket: this.#bucket,
          Delete: { Quiet: true, Objects: keys.slice(at, at + PAGE_KEYS).map((Key) => ({ Key })) },
        }),
      );
      const failed = Errors?.find(({ Code }) => Code !== "NoSuchKey");
      if (failed)
        throw new Error(`${failed.Key} in ${this.#bucket} was not deleted: ${failed.Code} ${failed.Message}`);
    }
  }

  #content(id: string): string {
    return `${this.#prefix}content/${id}`;
  }

  #record(id: string): string {
    return `${this.#prefix}files/${id}.json`;
  }

  #entry(sessionId: string, id: string): string {
    return `${this.#prefix}sessions/${sessionId}/${id}.json`;
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new FileStoreError("closed", "the file store is closed: the gateway is shutting down");
  }
}

/**
 * A client that has reached the bucket. Whatever code the SDK loads late (its providers of credentials) is loaded then.
 * Throws `FileStoreError` `unreachable` when the bucket cannot be listed: wrong name, credentials or network.
 */
export async function connectS3(
  options: Pick<S3FileStoreOptions, "bucket" | "prefix" | "region" | "endpoint">,
): Promise<S3Client> {
  const { endpoint } = options;
  const client = new S3Client({
    region: options.region,
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
  try {
    await client.send(
      new ListObjectsV2Command({ Bucket: options.bucket, Prefix: options.prefix, MaxKeys: 1 }),
    );
  } catch (error) {
    client.destroy();
    const at = endpoint === undefined ? `region ${options.region}` : endpoint;
    throw new FileStoreError(
      "unreachable",
      `the bucket ${options.bucket} at ${at} cannot be used (${reason(error)}): check KERNELYARD_S3_BUCKET, KERNELYARD_S3_REGION and KERNELYARD_S3_ENDPOINT, and that the credentials of AWS's default chain may list, read, write and delete there`,
      { cause: error },
    );
  }
  return client;
}

/** One object on its way: at once when it is small, in parts otherwise. Holds one part; the source waits meanwhile. */
class Upload {
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

/** Looks at a listing one object ahead. */
class Cursor {
  readonly #pages: AsyncGenerator<readonly Listed[]>;
  #page: readonly Listed[] = [];
  #at = 0;

  constructor(pages: AsyncGenerator<readonly Listed[]>) {
    this.#pages = pages;
  }

  async peek(): Promise<Listed | null> {
    while (this.#at >= this.#page.length) {
      const next = await this.#pages.next();
      if (next.done) return null;
      this.#page = next.value;
      this.#at = 0;
    }
    return this.#page[this.#at] ?? null;
  }

  next(): void {
    this.#at += 1;
  }
}

/** Stops starting more at the first failure, and waits for those on their way before it throws. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
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

/** Links first, by name; then the session's own files, oldest first. */
function asListed(a: SessionFile, b: SessionFile): number {
  if (a.linked !== b.linked) return a.linked ? -1 : 1;
  const first = a.linked
    ? compare(a.name, b.name)
    : Date.parse(a.record.createdAt) - Date.parse(b.record.createdAt);
  return first || compare(a.record.id, b.record.id);
}

/** By code unit, as the store orders ids. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function idOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1).replace(/\.json$/, "");
}

function reason(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

/** What the stores that have a limit say when it is reached. */
const FULL = new Set(["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"]);

function translate(error: unknown): unknown {
  if (!(error instanceof S3ServiceException)) return error;
  if (!FULL.has(error.name) && error.$metadata.httpStatusCode !== 507) return error;
  return new FileStoreError(
    "storage_full",
    "no space left for files: raise the quota of the bucket (KERNELYARD_S3_BUCKET) or shorten KERNELYARD_FILE_TTL_MS",
    { cause: error },
  );
}

function ignore(): void {}
