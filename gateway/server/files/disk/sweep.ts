/** Removes files whose time is over, content without a record, and records without content. */
import { rm } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import { isId } from "../../../common/ids.ts";
import type { SweepResult } from "../store.ts";
import type { DiskContent } from "./content.ts";
import type { FileRecords } from "./records.ts";

/** Files per step; between steps other work gets its turn. */
const BATCH = 200;

export interface Sweep {
  readonly records: FileRecords;
  readonly content: DiskContent;
  /** Files last written before are over. */
  readonly notBeforeMs: () => number;
  /** Deletes records, also on a full disk. */
  readonly deleteRecords: (ids: readonly string[]) => Promise<void>;
  /** Being staged or committed: left alone. */
  readonly inFlight: ReadonlySet<string>;
  /** Aborted: leave off, the store closes. */
  readonly end: AbortSignal;
}

export async function sweepDisk(sweep: Sweep): Promise<SweepResult> {
  const expired = await removeExpired(sweep);
  const orphanedContent = await removeContentWithoutRecord(sweep);
  const orphanedRecords = await removeRecordsWithoutContent(sweep);
  if (!sweep.end.aborted) await sweep.content.makeReserve();
  return { expired, orphanedContent, orphanedRecords };
}

async function removeExpired({ records, content, notBeforeMs, deleteRecords, end }: Sweep): Promise<number> {
  let removed = 0;
  while (!end.aborted) {
    const ids = records.expired(notBeforeMs(), BATCH);
    if (ids.length === 0) break;
    await deleteRecords(ids);
    for (const id of ids) await content.remove(id);
    removed += ids.length;
  }
  return removed;
}

async function removeContentWithoutRecord({ records, content, inFlight, end }: Sweep): Promise<number> {
  let removed = 0;
  for await (const { name, kept, path } of content.entries()) {
    if (end.aborted) break;
    // Both are asked in one turn: a commit adds its record before it leaves the set.
    if (inFlight.has(name)) continue;
    if (kept && isId(name) && records.exists(name)) continue;
    await rm(path, { force: true, recursive: true });
    removed += 1;
  }
  return removed;
}

async function removeRecordsWithoutContent({ records, content, deleteRecords, end }: Sweep): Promise<number> {
  let removed = 0;
  let last = "";
  while (!end.aborted) {
    const ids = records.idsAfter(last, BATCH);
    const newest = ids.at(-1);
    if (newest === undefined) break;
    last = newest;
    const missing: string[] = [];
    for (const id of ids) if (!(await content.has(id))) missing.push(id);
    if (missing.length > 0 && !end.aborted) {
      await deleteRecords(missing);
      removed += missing.length;
    }
    await nextTurn();
  }
  return removed;
}
