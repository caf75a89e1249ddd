/**
 * The records of the disk store, in SQLite. Every call is synchronous and touches a few pages; nothing here waits for
 * the disk: a commit reaches the write-ahead log in the page cache, `DiskFileStore` makes it durable off the event loop.
 */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { z } from "@hono/zod-openapi";
import { KINDS } from "../ownership.ts";
import {
  type FileLink,
  type FileRecord,
  FileStoreError,
  MAX_LISTED_FILES,
  type SessionFile,
  type Usage,
} from "../store.ts";

const FIRST_SCHEMA = `
  CREATE TABLE files (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    content_type TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    resource_id TEXT,
    version INTEGER,
    read_only INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX files_by_session ON files (session_id, created_ms);
  CREATE INDEX files_by_age ON files (modified_ms);
  CREATE TABLE links (
    session_id TEXT NOT NULL,
    file_id TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (session_id, file_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX links_by_file ON links (file_id);
  CREATE TABLE opened (only INTEGER PRIMARY KEY CHECK (only = 1), at_ms INTEGER NOT NULL) STRICT;
`;

/** What each holder has stored is counted as it changes: nobody adds up a hundred thousand rows for one upload. */
const USAGE = `
  ALTER TABLE files ADD COLUMN stored_by TEXT NOT NULL DEFAULT '';
  CREATE TABLE usage (
    holder TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO usage SELECT '', TOTAL(size), COUNT(*) FROM files;
  CREATE TRIGGER file_stored AFTER INSERT ON files BEGIN
    INSERT INTO usage VALUES (NEW.stored_by, NEW.size, 1)
      ON CONFLICT (holder) DO UPDATE SET bytes = bytes + NEW.size, files = files + 1;
  END;
  CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN
    UPDATE usage SET bytes = bytes - OLD.size, files = files - 1 WHERE holder = OLD.stored_by;
    DELETE FROM usage WHERE holder = OLD.stored_by AND files <= 0;
  END;
`;

/** What leads from each version to the next, beginning with an empty database. */
const MIGRATIONS = [FIRST_SCHEMA, USAGE];

const Row = z
  .object({
    id: z.string(),
    session_id: z.string(),
    name: z.string(),
    size: z.number(),
    etag: z.string(),
    content_type: z.string(),
    created_ms: z.number(),
    modified_ms: z.number(),
    owner: z.string(),
    kind: z.enum(KINDS),
    resource_id: z.string().nullable(),
    version: z.number().nullable(),
    read_only: z.number(),
    stored_by: z.string(),
  })
  .transform(
    (row): FileRecord => ({
      id: row.id,
      storageSessionId: row.session_id,
      name: row.name,
      size: row.size,
      etag: row.etag,
      contentType: row.content_type,
      createdAt: new Date(row.created_ms).toISOString(),
      modifiedAt: new Date(row.modified_ms).toISOString(),
      owner: row.owner,
      kind: row.kind,
      resourceId: row.resource_id,
      version: row.version,
      readOnly: row.read_only !== 0,
      storedBy: row.stored_by,
    }),
  );

const LinkColumns = z.object({ link_session_id: z.string(), link_owner: z.string(), link_name: z.string() });
const IdRow = z.object({ id: z.string() });
const OwnerRow = z.object({ id: z.string(), owner: z.string(), storedBy: z.string(), size: z.number() });
const UsageRow = z.object({ bytes: z.number(), files: z.number() });
const VersionRow = z.object({ user_version: z.number() });

/** SQLITE_FULL; extended codes carry the primary one in the low byte. */
export function isDatabaseFull(error: unknown): boolean {
  return sqliteCode(error) === 13;
}

function sqliteCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return null;
  return error.errcode & 0xff;
}

const SQLITE_BUSY = 5;
const FILE_COLUMNS =
  "f.id, f.session_id, f.name, f.size, f.etag, f.content_type, f.created_ms, f.modified_ms, f.owner, f.kind, f.resource_id, f.version, f.read_only, f.stored_by";
const LINK_COLUMNS = "l.session_id AS link_session_id, l.owner AS link_owner, l.name AS link_name";

type SqlRow = Record<string, SQLOutputValue>;

export class FileRecords {
  readonly #db: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #find: StatementSync;
  readonly #findLinked: StatementSync;
  readonly #list: StatementSync;
  readonly #listLinked: StatementSync;
  readonly #exists: StatementSync;
  readonly #link: StatementSync;
  readonly #unlink: StatementSync;
  readonly #delete: StatementSync;
  readonly #expired: StatementSync;
  readonly #idsAfter: StatementSync;
  readonly #usage: StatementSync;
  readonly #usageOfAll: StatementSync;

  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    try {
      // Exclusive: a second process on the same directory would take our unfinished files for orphans.
      this.#db.exec("PRAGMA locking_mode = EXCLUSIVE");
      this.#db.exec("PRAGMA journal_mode = WAL");
      // The log is synchronised by the store, before it answers; SQLite itself only does so at checkpoints.
      this.#db.exec("PRAGMA synchronous = NORMAL");
      this.#migrate();
      // A first write, so that the log exists for the store to open.
      this.#db.prepare("INSERT OR REPLACE INTO opened (only, at_ms) VALUES (1, ?)").run(Date.now());
    } catch (error) {
      this.#db.close();
      if (sqliteCode(error) === SQLITE_BUSY) {
        throw new FileStoreError(
          "in_use",
          `${path} is in use by another process: a second gateway needs its own data directory`,
          {
            cause: error,
          },
        );
      }
      throw error;
    }
    const db = this.#db;
    this.#insert = db.prepare(
      `INSERT INTO files (id, session_id, name, size, etag, content_type, created_ms, modified_ms, owner, kind, resource_id, version, read_only, stored_by)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#find = db.prepare(
      `SELECT ${FILE_COLUMNS} FROM files f WHERE f.id = ? AND f.session_id = ? AND f.modified_ms >= ?`,
    );
    this.#findLinked = db.prepare(
      `SELECT ${FILE_COLUMNS}, ${LINK_COLUMNS} FROM links l JOIN files f ON f.id = l.file_id
       WHERE l.file_id = ? AND l.session_id = ? AND f.modified_ms >= ?`,
    );
    this.#list = db.prepare(
      `SELECT ${FILE_COLUMNS} FROM files f WHERE f.session_id = ? AND f.modified_ms >= ? ORDER BY f.created_ms, f.id LIMIT ?`,
    );
    this.#listLinked = db.prepare(
      `SELECT ${FILE_COLUMNS}, ${LINK_COLUMNS} FROM links l JOIN files f ON f.id = l.file_id
       WHERE l.session_id = ? AND f.modified_ms >= ? ORDER BY l.name, f.id LIMIT ?`,
    );
    this.#exists = db.prepare("SELECT id FROM files WHERE id = ?");
    this.#link = db.prepare(
      `INSERT OR REPLACE INTO links (session_id, file_id, owner, name)
       SELECT ?, id, ?, ? FROM files WHERE id = ? AND session_id <> ?`,
    );
    this.#unlink = db.prepare("DELETE FROM links WHERE session_id = ? AND file_id = ?");
    this.#delete = db.prepare("DELETE FROM files WHERE id = ?");
    this.#expired = db.prepare("SELECT id FROM files WHERE modified_ms < ? ORDER BY modified_ms LIMIT ?");
    this.#idsAfter = db.prepare("SELECT id FROM files WHERE id > ? ORDER BY id LIMIT ?");
    this.#usage = db.prepare("SELECT bytes, files FROM usage WHERE holder = ?");
    this.#usageOfAll = db.prepare("SELECT TOTAL(bytes) AS bytes, TOTAL(files) AS files FROM usage");
  }

  #migrate(): void {
    const { user_version: version } = VersionRow.parse(this.#db.prepare("PRAGMA user_version").get());
    if (version > MIGRATIONS.length) {
      throw new Error(
        `the file records have schema ${version}, this version reads ${MIGRATIONS.length}: use a newer gateway`,
      );
    }
    this.#transaction(() => {
      for (const migration of MIGRATIONS.slice(version)) this.#db.exec(migration);
      this.#db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    });
  }

  #transaction(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      // A full disk can have rolled back already.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  insert(records: readonly FileRecord[]): void {
    this.#transaction(() => {
      for (const r of records) {
        this.#insert.run(
          r.id,
          r.storageSessionId,
          r.name,
          r.size,
          r.etag,
          r.contentType,
          Date.parse(r.createdAt),
          Date.parse(r.modifiedAt),
          r.owner,
          r.kind,
          r.resourceId,
          r.version,
          r.readOnly ? 1 : 0,
          r.storedBy,
        );
      }
    });
  }

  find(sessionId: string, fileId: string, notBeforeMs: number): SessionFile | null {
    const own = this.#find.get(fileId, sessionId, notBeforeMs);
    if (own) return ownFile(own);
    const linked = this.#findLinked.get(fileId, sessionId, notBeforeMs);
    return linked ? linkedFile(linked) : null;
  }

  list(sessionId: string, notBeforeMs: number): SessionFile[] {
    const linked = this.#listLinked.all(sessionId, notBeforeMs, MAX_LISTED_FILES).map(linkedFile);
    const own = this.#list.all(sessionId, notBeforeMs, MAX_LISTED_FILES - linked.length).map(ownFile);
    return [...linked, ...own];
  }

  exists(id: string): boolean {
    return this.#exists.get(id) !== undefined;
  }

  link(links: readonly FileLink[]): void {
    this.#transaction(() => {
      for (const { sessionId, fileId, owner, name } of links)
        this.#link.run(sessionId, owner, name, fileId, sessionId);
    });
  }

  unlink(sessionId: string, fileId: string): void {
    this.#unlink.run(sessionId, fileId);
  }

  delete(ids: readonly string[]): void {
    this.#transaction(() => {
      for (const id of ids) this.#delete.run(id);
    });
  }

  expired(beforeMs: number, limit: number): string[] {
    return this.#expired.all(beforeMs, limit).map((row) => IdRow.parse(row).id);
  }

  idsAfter(id: string, limit: number): string[] {
    return this.#idsAfter.all(id, limit).map((row) => IdRow.parse(row).id);
  }

  /** A page of all files, by their ids. */
  after(id: string, limit: number): { id: string; owner: string; storedBy: string; size: number }[] {
    return this.#db
      .prepare("SELECT id, owner, stored_by AS storedBy, size FROM files WHERE id > ? ORDER BY id LIMIT ?")
      .all(id, limit)
      .map((row) => OwnerRow.parse(row));
  }

  /** They stay, on nobody's account. */
  disown(holder: string): void {
    this.#transaction(() => {
      const { bytes, files } = this.usage(holder);
      this.#db.prepare("UPDATE files SET stored_by = '' WHERE stored_by = ?").run(holder);
      this.#db.prepare("DELETE FROM usage WHERE holder = ?").run(holder);
      if (files === 0) return;
      this.#db
        .prepare(
          "INSERT INTO usage VALUES ('', ?, ?) ON CONFLICT (holder) DO UPDATE SET bytes = bytes + excluded.bytes, files = files + excluded.files",
        )
        .run(bytes, files);
    });
  }

  /** How many there were. */
  unlinkAll(of: { readonly is: string } | { readonly begins: string }): number {
    const statement =
      "is" in of
        ? this.#db.prepare("DELETE FROM links WHERE owner = ?")
        : this.#db.prepare("DELETE FROM links WHERE substr(owner, 1, length(?1)) = ?1");
    return Number(statement.run("is" in of ? of.is : of.begins).changes);
  }

  /** What was deleted is in no page of the database any more, and not in its log. Takes as long as copying it. */
  scrub(): void {
    this.#db.exec("VACUUM");
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    // The log has to be there for the store.
    this.#db.prepare("INSERT OR REPLACE INTO opened (only, at_ms) VALUES (1, ?)").run(Date.now());
  }

  /** `null`: of all holders. */
  usage(holder: string | null): Usage {
    const row = holder === null ? this.#usageOfAll.get() : this.#usage.get(holder);
    return row === undefined ? { bytes: 0, files: 0 } : UsageRow.parse(row);
  }

  close(): void {
    this.#db.close();
  }
}

function ownFile(row: SqlRow): SessionFile {
  const record = Row.parse(row);
  return {
    record,
    sessionId: record.storageSessionId,
    owner: record.owner,
    name: record.name,
    linked: false,
  };
}

function linkedFile(row: SqlRow): SessionFile {
  const link = LinkColumns.parse(row);
  return {
    record: Row.parse(row),
    sessionId: link.link_session_id,
    owner: link.link_owner,
    name: link.link_name,
    linked: true,
  };
}
