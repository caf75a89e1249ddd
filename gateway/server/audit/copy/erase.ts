/**
 * An erasure in the bucket, beyond the files that are still on this host: objects whose file is gone, and those of other
 * hosts, which may be gone themselves. Each is read once, and rewritten only where it has entries of the subject's, in the
 * place of exactly what was read.
 */
import type { Subject } from "../../auth/principal.ts";
import { logFile } from "../files.ts";
import { type ErasedEntries, erased } from "../lines.ts";
import { type AuditObjects, type ListedObject, ObjectChanged } from "./objects.ts";

/** A host that lives puts its present file again every few minutes. */
const ATTEMPTS = 3;
/** The bucket is away then. */
const FAILURES_IN_A_ROW = 3;

export interface Walk {
  readonly objects: AuditObjects;
  readonly under: string;
  /** Goes on behind this key. */
  readonly after: string | null;
  /** What is put from the disk. */
  readonly isOurs: (key: string) => boolean;
  readonly subject: Subject;
  readonly policy: ErasedEntries;
  readonly signal: AbortSignal;
}

export interface Walked {
  readonly entries: number;
  /** Objects that could not be read or written; null: it ended early, there may be any number. */
  readonly unread: number | null;
  readonly problem: string | null;
  readonly versioned: boolean;
  /** Where to go on; null: there is nothing to go on with, or something on the way has failed. */
  readonly last: string | null;
}

/** Never rejects: what was not reached is told. */
export async function eraseObjects(walk: Walk): Promise<Walked> {
  const { after, isOurs, objects, signal, under } = walk;
  let [entries, unread, inARow] = [0, 0, 0];
  let versioned = false;
  let problem: string | null = null;
  let last = after;
  const early = (): Walked => ({
    entries,
    unread: null,
    problem,
    versioned,
    last: unread === 0 ? last : null,
  });
  try {
    for await (const page of objects.list(under, { signal, ...(after === null ? {} : { after }) })) {
      for (const object of page) {
        if (!isLog(object) || isOurs(object.key)) continue;
        try {
          const done = await eraseObject(object.key, walk);
          entries += done.entries;
          versioned ||= done.versioned;
          inARow = 0;
          if (unread === 0) last = object.key;
        } catch (error) {
          problem = messageOf(error);
          if (signal.aborted) return early();
          unread += 1;
          inARow += 1;
          if (inARow === FAILURES_IN_A_ROW) return early();
        }
      }
    }
  } catch (error) {
    problem = messageOf(error);
    return early();
  }
  return { entries, unread, problem, versioned, last: null };
}

const isLog = ({ key }: ListedObject) => logFile(key.slice(key.lastIndexOf("/") + 1)) !== null;

async function eraseObject(key: string, walk: Walk): Promise<{ entries: number; versioned: boolean }> {
  const { objects, policy, signal, subject } = walk;
  for (let attempt = 1; ; attempt += 1) {
    const present = await objects.open(key, { signal });
    if (present === null) return { entries: 0, versioned: false };
    const entries = await entriesIn(present.bytes, walk);
    if (entries === 0) return { entries, versioned: false };
    const match = present.tag;
    try {
      const again = await objects.open(key, { match, signal });
      if (again === null) return { entries: 0, versioned: false };
      const bytes = erased(again.bytes, subject, policy, () => {});
      return { entries, ...(await objects.put(key, bytes, { match, signal })) };
    } catch (error) {
      if (!(error instanceof ObjectChanged) || attempt === ATTEMPTS) throw error;
    }
  }
}

async function entriesIn(bytes: AsyncIterable<Uint8Array>, { policy, subject }: Walk): Promise<number> {
  let entries = 0;
  const count = () => {
    entries += 1;
  };
  for await (const block of erased(bytes, subject, policy, count)) void block;
  return entries;
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);
