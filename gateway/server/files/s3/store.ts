/**
 * `FileStore` on a bucket of any S3-compatible store; `layout.ts` says where what lies. Gateways on several hosts may
 * share one bucket and prefix.
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
import type { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import type { S3Client } from "@aws-sdk/client-s3";
import { z } from "@hono/zod-openapi";
import { isId, newId } from "../../../common/ids.ts";
import { KINDS } from "../ownership.ts";
import {
  type ByteRange,
  type ErasedFiles,
  type FileLink,
  type FileRecord,
  type FileStore,
  FileStoreError,
  type FilesOf,
  isFileOf,
  isOwner,
  MAX_LISTED_FILES,
  newRecords,
  type SessionFile,
  type StagedCommit,
  type StagedFile,
  type StageLimits,
  type SweepResult,
  storeClosed,
  type Usage,
} from "../store.ts";
import { type Retention, Sweeping } from "../sweeping.ts";
import { Bucket, type BucketPlace, connectS3, inParallel, translate } from "./bucket.ts";
import {
  compareIds,
  contentKey,
  entriesUnder,
  entryKey,
  idOf,
  recordKey,
  UNDER,
  usageBytes,
  usageKey,
  usageUnder,
} from "./layout.ts";
import { sweepBucket } from "./sweep.ts";

const CLOSE_MS = 5000;
/**
 * Bytes may wait this long between the start of `stage` and the end of `commit`. Other gateways' unfinished files cannot
 * be told from lost ones, so the sweep takes only what is twice as old.
 */
const STAGED_MS = 3 * 3_600_000;

const COUNT_AGAIN_MS = 60_000;

export const ORPHAN_AGE_MS = 2 * STAGED_MS;

export interface S3FileStoreOptions extends BucketPlace, Retention {}

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
  storedBy: z.string().default(""),
});
const Link = z.object({ link: z.object({ owner: z.string(), name: z.string() }) });

export class S3FileStore implements FileStore {
  readonly #bucket: Bucket;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Ids of this process between the start of `stage` and the end of `commit` or `discard`, and since when. */
  readonly #inFlight = new Map<string, number>();
  readonly #sweeping: Sweeping;
  readonly #usage: UsageCounter;
  #closed = false;

  /** Takes the client over: `close` ends it. */
  constructor(options: S3FileStoreOptions, client: S3Client) {
    const bucket = new Bucket(client, options);
    this.#bucket = bucket;
    this.#ttlMs = options.ttlMs;
    this.#now = options.now ?? Date.now;
    this.#usage = new UsageCounter(bucket);
    this.#sweeping = new Sweeping(options, (end) =>
      sweepBucket({
        bucket,
        nowMs: this.#now(),
        ttlMs: this.#ttlMs,
        orphanAgeMs: ORPHAN_AGE_MS,
        inFlight: this.#inFlight,
        end,
      }),
    );
  }

  /** See `connectS3`. */
  static async open(options: S3FileStoreOptions): Promise<S3FileStore> {
    return new S3FileStore(options, await connectS3(options));
  }

  async stage(bytes: AsyncIterable<Uint8Array>, limits: StageLimits): Promise<StagedFile> {
    this.#assertOpen();
    const id = newId();
    this.#inFlight.set(id, this.#now());
    const upload = this.#bucket.upload(contentKey(id));
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

  async commit(files: readonly StagedCommit[]): Promise<readonly FileRecord[]> {
    const records = newRecords(files, this.#now());
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
        this.#bucket.putJson(entryKey(storageSessionId, id), {}),
      );
      await inParallel(records, ({ id, size, storedBy }) =>
        this.#bucket.putJson(usageKey(storedBy, id, size), {}),
      );
      await inParallel(records, (record) => this.#bucket.putJson(recordKey(record.id), record));
      for (const { storedBy, size } of records) this.#usage.add(storedBy, size);
      return records;
    } catch (error) {
      const written = [
        ...ours.map(({ id }) => recordKey(id)),
        ...ours.map(({ storageSessionId, id }) => entryKey(storageSessionId, id)),
        ...ours.map(({ id, size, storedBy }) => usageKey(storedBy, id, size)),
        ...ours.map(({ id }) => contentKey(id)),
      ];
      await this.#bucket.deleteAll(written).catch(ignore);
      throw translate(error);
    } finally {
      for (const { id } of records) this.#inFlight.delete(id);
    }
  }

  async discard(staged: StagedFile): Promise<void> {
    try {
      await this.#bucket.delete(contentKey(staged.id));
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
    for await (const page of this.#bucket.list(entriesUnder(sessionId))) {
      ids.push(...page.map(({ key }) => idOf(key)).filter(isId));
      if (ids.length >= MAX_LISTED_FILES) break;
    }
    const files = await inParallel(ids.slice(0, MAX_LISTED_FILES), (id) => this.find(sessionId, id));
    return files.filter((file) => file !== null).sort(asListed);
  }

  async open(record: FileRecord, range?: ByteRange): Promise<Readable | null> {
    this.#assertOpen();
    return this.#bucket.get(contentKey(record.id), range);
  }

  async link(links: readonly FileLink[]): Promise<void> {
    if (links.length === 0) return;
    this.#assertOpen();
    await inParallel(links, async ({ sessionId, fileId, owner, name }) => {
      const record = await this.#live(fileId);
      // Its own session lists it already.
      if (!record || record.storageSessionId === sessionId) return;
      await this.#bucket.putJson(entryKey(sessionId, fileId), { link: { owner, name } });
    });
  }

  /** Two that remove the same file at once may both be told that they did. */
  async remove(sessionId: string, fileId: string): Promise<boolean> {
    const found = await this.find(sessionId, fileId);
    if (!found) return false;
    // A file is gone with its record; links of other sessions show nothing from then on.
    if (!found.linked) await this.#bucket.deleteAll([recordKey(fileId)]);
    const { size, storedBy } = found.record;
    const rest = found.linked ? [] : [contentKey(fileId), usageKey(storedBy, fileId, size)];
    if (!found.linked) this.#usage.add(storedBy, -size);
    await this.#bucket.deleteAll([entryKey(sessionId, fileId), ...rest]);
    return true;
  }

  async erase(of: FilesOf): Promise<ErasedFiles> {
    this.#assertOpen();
    const erased = { files: 0, bytes: 0, links: 0, kept: 0 };
    for await (const page of this.#bucket.list(UNDER.records)) {
      await inParallel(page, async ({ key }) => {
        const record = Record.nullable().parse(await this.#bucket.getJson(key));
        const fate = record === null ? null : isFileOf(record, of);
        if (record === null || fate === null) return;
        const { id, size, storageSessionId, storedBy } = record;
        const account = usageKey(storedBy, id, size);
        if (fate === "kept") {
          erased.kept += 1;
          await this.#bucket.putJson(usageKey("", id, size), {});
          await this.#bucket.putJson(key, { ...record, storedBy: "" });
          await this.#bucket.deleteAll([account]);
          return;
        }
        erased.files += 1;
        erased.bytes += size;
        this.#usage.add(storedBy, -size);
        await this.#bucket.deleteAll([key, entryKey(storageSessionId, id), account, contentKey(id)]);
      });
    }
    for await (const page of this.#bucket.list(UNDER.sessions)) {
      // A session's own file is an empty object there.
      const links = page.filter(({ bytes }) => bytes > 2);
      await inParallel(links, async ({ key }) => {
        const entry = Link.safeParse(await this.#bucket.getJson(key));
        if (!entry.success || !isOwner(entry.data.link.owner, of)) return;
        erased.links += 1;
        await this.#bucket.deleteAll([key]);
      });
    }
    return erased;
  }

  async usage(holder: string | null): Promise<Usage> {
    this.#assertOpen();
    return this.#usage.of(holder);
  }

  sweep(): Promise<SweepResult> {
    return this.#sweeping.run();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // A store that does not answer must not hold up the end; what a sweep leaves, the next one takes.
    await Promise.race([this.#sweeping.stop(), setTimeout(CLOSE_MS, null, { ref: false })]);
    this.#bucket.close();
  }

  /** The record, unless its time is over. */
  async #live(fileId: string): Promise<FileRecord | null> {
    const record = Record.nullable().parse(await this.#bucket.getJson(recordKey(fileId)));
    return record && Date.parse(record.modifiedAt) >= this.#now() - this.#ttlMs ? record : null;
  }

  async #through(sessionId: string, record: FileRecord): Promise<SessionFile | null> {
    if (record.storageSessionId === sessionId) {
      return { record, sessionId, owner: record.owner, name: record.name, linked: false };
    }
    const entry = await this.#bucket.getJson(entryKey(sessionId, record.id));
    if (entry === null) return null;
    return { record, sessionId, ...Link.parse(entry).link, linked: true };
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed();
  }
}

/** Counts by listing, and goes by its last count for a minute: what other gateways store meanwhile is told later. */
class UsageCounter {
  readonly #bucket: Bucket;
  readonly #counted = new Map<
    string,
    { usage: Promise<Usage>; readonly at: number; bytes: number; files: number }
  >();

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  async of(holder: string | null): Promise<Usage> {
    const under = holder === null ? UNDER.usage : usageUnder(holder);
    const now = performance.now();
    for (const [key, { at }] of this.#counted) if (now - at > COUNT_AGAIN_MS) this.#counted.delete(key);
    const known = this.#counted.get(under) ?? { usage: this.#count(under), at: now, bytes: 0, files: 0 };
    this.#counted.set(under, known);
    const { bytes, files } = await known.usage;
    return { bytes: bytes + known.bytes, files: files + known.files };
  }

  /** Stored here since it was counted; removed, when negative. */
  add(holder: string, bytes: number): void {
    for (const under of [UNDER.usage, usageUnder(holder)]) {
      const known = this.#counted.get(under);
      if (known === undefined) continue;
      known.bytes += bytes;
      known.files += Math.sign(bytes);
    }
  }

  async #count(under: string): Promise<Usage> {
    let [bytes, files] = [0, 0];
    for await (const page of this.#bucket.list(under)) {
      files += page.length;
      for (const { key } of page) bytes += usageBytes(key);
    }
    return { bytes, files };
  }
}

/** Links first, by name; then the session's own files, oldest first. */
function asListed(a: SessionFile, b: SessionFile): number {
  if (a.linked !== b.linked) return a.linked ? -1 : 1;
  const first = a.linked
    ? compareIds(a.name, b.name)
    : Date.parse(a.record.createdAt) - Date.parse(b.record.createdAt);
  return first || compareIds(a.record.id, b.record.id);
}

function ignore(): void {}
