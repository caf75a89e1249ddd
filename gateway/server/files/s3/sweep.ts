/** Removes files whose time is over, content without a record, records without content, and entries without a file. */
import type { SweepResult } from "../store.ts";
import { type Bucket, type Listed, PAGE_KEYS } from "./bucket.ts";
import { compareIds, contentKey, idOf, UNDER } from "./layout.ts";

/** S3 refuses a clock that is further off. `find` goes by our clock, the sweep by the store's, this much later. */
const SKEW_MS = 15 * 60_000;

export interface Sweep {
  readonly bucket: Bucket;
  readonly nowMs: number;
  readonly ttlMs: number;
  /** Bytes without a record are lost when they are older. */
  readonly orphanAgeMs: number;
  /** Of this process, being staged or committed: left alone. */
  readonly inFlight: { has(id: string): boolean };
  /** Aborted: leave off, the store closes. */
  readonly end: AbortSignal;
}

export async function sweepBucket(sweep: Sweep): Promise<SweepResult> {
  const abortedUploads = await abortLostUploads(sweep);
  const removed = await removeFiles(sweep);
  await removeEntries(sweep);
  return { ...removed, orphanedContent: removed.orphanedContent + abortedUploads };
}

const expiredBefore = ({ nowMs, ttlMs }: Sweep) => nowMs - ttlMs - SKEW_MS;
const lostBefore = ({ nowMs, orphanAgeMs }: Sweep) => nowMs - orphanAgeMs;

/** Uploads in parts whose process died: their parts are paid for and listed nowhere else. */
async function abortLostUploads(sweep: Sweep): Promise<number> {
  const { bucket, inFlight, end } = sweep;
  let aborted = 0;
  for await (const upload of bucket.openUploads(UNDER.content)) {
    if (end.aborted) break;
    if (upload.begunMs >= lostBefore(sweep) || inFlight.has(idOf(upload.key))) continue;
    await bucket.abortUpload(upload);
    aborted += 1;
  }
  return aborted;
}

/** Both listings come in the order of the ids: they are walked side by side, a page of each in memory. */
async function removeFiles(sweep: Sweep): Promise<SweepResult> {
  const { bucket, inFlight, end } = sweep;
  const contents = new Cursor(bucket.list(UNDER.content));
  const records = new Cursor(bucket.list(UNDER.records));
  const doomed: string[] = [];
  let expired = 0;
  let orphanedContent = 0;
  let orphanedRecords = 0;
  for (;;) {
    if (end.aborted) break;
    const [content, record] = [await contents.peek(), await records.peek()];
    if (!content && !record) break;
    const contentId = content ? idOf(content.key) : null;
    const recordId = record ? idOf(record.key) : null;
    const order = contentId === null ? 1 : recordId === null ? -1 : compareIds(contentId, recordId);
    if (order <= 0) contents.next();
    if (order >= 0) records.next();
    if (record && order >= 0 && record.modifiedMs < expiredBefore(sweep)) {
      // Nobody is served it any more: the order in which they go does not matter.
      doomed.push(record.key);
      if (order === 0 && content) doomed.push(content.key);
      expired += 1;
    } else if (
      content &&
      order < 0 &&
      content.modifiedMs < lostBefore(sweep) &&
      !inFlight.has(contentId ?? "")
    ) {
      doomed.push(content.key);
      orphanedContent += 1;
    } else if (record && order > 0 && recordId !== null && !(await bucket.has(contentKey(recordId)))) {
      doomed.push(record.key);
      orphanedRecords += 1;
    }
    if (doomed.length >= PAGE_KEYS) await bucket.deleteAll(doomed.splice(0));
  }
  await bucket.deleteAll(doomed);
  return { expired, orphanedContent, orphanedRecords };
}

/** An entry, a link, an account is never needed longer than its file, which is as old or older. */
async function removeEntries(sweep: Sweep): Promise<void> {
  const { bucket, end } = sweep;
  for (const under of [UNDER.sessions, UNDER.usage]) {
    for await (const page of bucket.list(under)) {
      if (end.aborted) return;
      const old = page.filter(({ modifiedMs }) => modifiedMs < expiredBefore(sweep));
      await bucket.deleteAll(old.map(({ key }) => key));
    }
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
