/**
 * Where files live between calls. A file is staged (its bytes become durable), then committed (its record makes it
 * exist). Whatever was only staged when a process dies is removed by the next sweep.
 */
import type { Readable } from "node:stream";
import type { Kind } from "./ownership.ts";

export interface FileRecord {
  readonly id: string;
  /** The storage session: an upload's or an execution's bucket. */
  readonly storageSessionId: string;
  /** Full relative name, as `normaliseName` returns it. */
  readonly name: string;
  readonly size: number;
  /** sha256 of the content, hexadecimal. */
  readonly etag: string;
  readonly contentType: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly modifiedAt: string;
  /** `ownerKey` of `ownership.ts`. */
  readonly owner: string;
  readonly kind: Kind;
  readonly resourceId: string | null;
  readonly version: number | null;
  /** Code may read it; a changed copy is not collected. */
  readonly readOnly: boolean;
  /** `Holder.key`: on whose account it is. */
  readonly storedBy: string;
}

/** Who stores a file; what they have stored counts together, whomever it belongs to. */
export interface Holder {
  /** 21 characters of `[A-Za-z0-9_-]`. */
  readonly key: string;
  /** Speaks for many users. */
  readonly shared: boolean;
  readonly tenant: string;
}

export interface StageLimits {
  readonly maxBytes: number;
  readonly holder: Holder;
}

/** What is stored. */
export interface Usage {
  readonly bytes: number;
  readonly files: number;
}

/** What a caller of `commit` decides; the store adds the rest. */
export type NewFile = Pick<
  FileRecord,
  | "storageSessionId"
  | "name"
  | "contentType"
  | "owner"
  | "kind"
  | "resourceId"
  | "version"
  | "readOnly"
  | "storedBy"
>;

/** Durable bytes without a record yet. */
export interface StagedFile {
  readonly id: string;
  readonly size: number;
  readonly etag: string;
}

/** Staged bytes and the file that they are to become. */
export interface StagedCommit {
  readonly staged: StagedFile;
  readonly file: NewFile;
}

/** The records of files that begin to exist now. */
export function newRecords(files: readonly StagedCommit[], nowMs: number): FileRecord[] {
  const at = new Date(nowMs).toISOString();
  return files.map(({ staged, file }) => ({ ...file, ...staged, createdAt: at, modifiedAt: at }));
}

/** An input of an execution, listed in that execution's session beside its outputs. */
export interface FileLink {
  readonly sessionId: string;
  readonly fileId: string;
  /** Owner key of the session that lists it. */
  readonly owner: string;
  /** Where the execution saw it. */
  readonly name: string;
}

/** A file as seen through one session: its own, or one linked into it. */
export interface SessionFile {
  readonly record: FileRecord;
  /** The session it was found in. */
  readonly sessionId: string;
  /** Who may use it there. */
  readonly owner: string;
  /** Its name there. */
  readonly name: string;
  readonly linked: boolean;
}

export type FileStoreFailure =
  | "too_large"
  | "storage_full"
  | "busy"
  | "gone"
  | "closed"
  | "in_use"
  | "unreachable";

/** The store could not do it. `too_large`: the file exceeds its limit; `storage_full`: there is no space left, at all or
 * for this holder; `busy`: no memory came free for the transfer; `gone`: its time was over before it was read. */
export class FileStoreError extends Error {
  override readonly name = "FileStoreError";
  readonly code: FileStoreFailure;

  constructor(code: FileStoreFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What every use of a store after its `close` is told. */
export function storeClosed(): FileStoreError {
  return new FileStoreError("closed", "the file store is closed: the gateway is shutting down");
}

/** A part of a file; both ends inclusive, as HTTP counts. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface SweepResult {
  readonly expired: number;
  readonly orphanedContent: number;
  readonly orphanedRecords: number;
}

/** Most entries that one session lists. */
export const MAX_LISTED_FILES = 5000;

/** Whose files. */
export interface FilesOf {
  /** An owner key, or where they all begin. */
  readonly owner: { readonly is: string } | { readonly begins: string };
  /** On whose account files of other owners may be; null: nobody's. */
  readonly holder: string | null;
  /** Those on the account go, too; otherwise they stay, on nobody's. */
  readonly shared: boolean;
}

export interface ErasedFiles {
  readonly files: number;
  readonly bytes: number;
  /** Files of others that were listed among theirs. */
  readonly links: number;
  /** Files of others that were on their account and stay. */
  readonly kept: number;
}

export function isFileOf(
  { owner, storedBy }: Pick<FileRecord, "owner" | "storedBy">,
  of: FilesOf,
): "gone" | "kept" | null {
  if (isOwner(owner, of)) return "gone";
  if (of.holder === null || storedBy !== of.holder) return null;
  return of.shared ? "gone" : "kept";
}

export function isOwner(owner: string, { owner: of }: FilesOf): boolean {
  return "is" in of ? owner === of.is : owner.startsWith(of.begins);
}

export interface FileStore {
  /**
   * Reads `bytes` to its end, durably, in bounded memory. Throws `FileStoreError` (`too_large` as soon as `maxBytes`
   * is exceeded, `storage_full`) or the source's own error; then nothing is left. The source is left unread at that point.
   */
  stage(bytes: AsyncIterable<Uint8Array>, limits: StageLimits): Promise<StagedFile>;
  /** Makes staged files exist, all or none. Durable when it resolves; on failure nothing is left. */
  commit(files: readonly StagedCommit[]): Promise<readonly FileRecord[]>;
  /** Forgets staged bytes. */
  discard(staged: StagedFile): Promise<void>;
  /** Null when there is no such file in that session, or its time is over. */
  find(sessionId: string, fileId: string): Promise<SessionFile | null>;
  /**
   * Inputs that were linked into the session, by name; then its own files, oldest first. Clients find a file by its id,
   * except that older ones run with a whole listing, in its order, and of two with one name the last one wins: so a
   * newer file comes after an older one. At most `MAX_LISTED_FILES`, more than any session can hold.
   */
  list(sessionId: string): Promise<readonly SessionFile[]>;
  /** Opens the content; null when it has gone meanwhile. The caller reads it to its end or destroys it. */
  open(record: FileRecord, range?: ByteRange): Promise<Readable | null>;
  /** Records which inputs an execution saw. Links to files that have gone are ignored. */
  link(links: readonly FileLink[]): Promise<void>;
  /** Removes the file, or only the link where it was linked. False when there was none. */
  remove(sessionId: string, fileId: string): Promise<boolean>;
  /** Removes all of somebody's files, their bytes and every trace in the records. Looks at every file. */
  erase(of: FilesOf): Promise<ErasedFiles>;
  /** What a holder has stored; null: all of them. Of several gateways on one store as of a minute ago. */
  usage(holder: string | null): Promise<Usage>;
  /** Removes files whose time is over, content without a record, and records without content. One at a time. */
  sweep(): Promise<SweepResult>;
  close(): Promise<void>;
}
