/** The ends of a store: quotas, a reserve of the disk, memory for what is on its way. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { DiskReserve } from "../../../gateway/common/disk-space.ts";
import { newId } from "../../../gateway/common/ids.ts";
import { MemoryBudget } from "../../../gateway/server/bounds/memory.ts";
import { BoundedFileStore, type StoreBounds } from "../../../gateway/server/files/bounded.ts";
import { filesApp, uploadForm } from "../../support/files/app.ts";
import { newFile } from "../../support/files/new-file.ts";
import { chunks, contentFiles, openStore, temporaryDirectory } from "../../support/files/store.ts";

const alice = { key: "alice", shared: false, tenant: "acme" };
const bob = { key: "bob", shared: false, tenant: "acme" };
const key = { key: "key", shared: true, tenant: "acme" };

async function open(bounds: Partial<StoreBounds> = {}) {
  const directory = await temporaryDirectory();
  const disk = await openStore({ directory });
  const store = new BoundedFileStore(disk, {
    memory: new MemoryBudget(1000),
    stageBytes: 10,
    perHolderBytes: 1000,
    totalBytes: null,
    reserve: null,
    ...bounds,
  });
  const put = async (bytes: number, holder = alice) => {
    const staged = await store.stage(chunks(Buffer.alloc(bytes)), { maxBytes: 1e9, holder });
    const [record] = await store.commit([{ staged, file: newFile({ storedBy: holder.key }) }]);
    return record ?? expect.fail();
  };
  return { directory, put, store };
}

const refused = (words: string) => ({ code: "storage_full", message: expect.stringContaining(words) });

describe("what one caller may store", () => {
  it("is counted by caller, a key has ten times as much, and deleting gives it back", async () => {
    const { directory, put, store } = await open();
    const first = await put(600);
    await expect(put(401)).rejects.toMatchObject(refused("KERNELYARD_FILES_PER_USER"));
    expect(await contentFiles(directory)).toEqual([first.id]);
    await put(400);
    await expect(put(0)).rejects.toMatchObject(refused("1000 bytes"));
    await put(1000, bob);
    await put(9000, key);
    expect(await store.usage("alice")).toEqual({ bytes: 1000, files: 2 });
    expect(await store.usage(null)).toEqual({ bytes: 11_000, files: 4 });
    await store.remove(first.storageSessionId, first.id);
    await put(600);
  });

  it("counts what is staged and what is on its way, until it is kept or dropped", async () => {
    const { put, store } = await open();
    const stage = (bytes: AsyncIterable<Uint8Array>) => store.stage(bytes, { maxBytes: 1e9, holder: alice });
    const staged = await stage(chunks(Buffer.alloc(500)));
    const gate = Promise.withResolvers<void>();
    const counted = Promise.withResolvers<void>();
    async function* slow() {
      yield Buffer.alloc(500);
      counted.resolve();
      await gate.promise;
    }
    const coming = stage(slow());
    await counted.promise;
    await expect(put(1)).rejects.toMatchObject(refused("KERNELYARD_FILES_PER_USER"));
    await store.discard(staged);
    await put(500);
    gate.resolve();
    await store.discard(await coming);
    await put(500);
  });

  it("is not exceeded by many at the same time", async () => {
    const { put, store } = await open();
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => put(100)));
    expect(results.filter(({ status }) => status === "fulfilled").length).toBeLessThanOrEqual(10);
    expect((await store.usage("alice")).bytes).toBeLessThanOrEqual(1000);
  });
});

describe("all files together", () => {
  it("have a limit of their own", async () => {
    const { put } = await open({ totalBytes: 1500 });
    await put(1000);
    await expect(put(501, bob)).rejects.toMatchObject(refused("KERNELYARD_FILES_TOTAL"));
    await put(500, bob);
  });

  it("leave the disk its reserve; reading, listing and deleting go on", async () => {
    const directory = await temporaryDirectory();
    const { put: fill } = await open();
    await fill(10);
    const full = new DiskReserve(directory, Number.MAX_SAFE_INTEGER);
    const { put } = await open({ reserve: full });
    await expect(put(1)).rejects.toMatchObject(refused("KERNELYARD_DISK_RESERVE"));
    expect(await new DiskReserve(directory, 0).problemWith(1)).toBeNull();
    const { reserveBytes, totalBytes } = await new DiskReserve(directory, null).space();
    expect(reserveBytes).toBe(Math.min(10 * 1024 ** 3, Math.floor(totalBytes / 20)));
  });
});

describe("memory of transfers", () => {
  it("is waited for, and given back however a transfer ends", async () => {
    const memory = new MemoryBudget(20);
    const { put, store } = await open({ memory });
    const gate = Promise.withResolvers<void>();
    async function* slow() {
      yield Buffer.alloc(1);
      await gate.promise;
      throw new Error("client hung up");
    }
    const coming = store.stage(slow(), { maxBytes: 10, holder: alice });
    const behind = put(1);
    await put(1, bob);
    expect(memory.held).toBe(10);
    gate.resolve();
    await expect(coming).rejects.toThrow("client hung up");
    await behind;
    expect(memory.held).toBe(0);
  });
});

describe("over HTTP", () => {
  it("a caller at the end of their quota is told which, and can delete", async () => {
    const { store } = await open();
    const caller = filesApp(store).as("a@tenant");
    const upload = (size: number) => caller("/upload", uploadForm({}, ["a.txt", "x".repeat(size)]));
    const kept = await (await upload(900)).json();
    const answer = await upload(101);
    expect(answer.status).toBe(507);
    expect(await answer.json()).toMatchObject({
      error: "storage_full",
      message: expect.stringContaining("KERNELYARD_FILES_PER_USER"),
    });
    const [file] = (kept as { files: { fileId: string }[] }).files;
    const path = `/files/${(kept as { session_id: string }).session_id}/${file?.fileId}`;
    expect((await caller(path, { method: "DELETE" })).status).toBe(200);
    expect((await upload(101)).status).toBe(200);
    // Whatever the files are said to belong to.
    const form = uploadForm({ kind: "agent", id: "another" }, ["a.txt", "x".repeat(900)]);
    expect((await caller("/upload", form)).status).toBe(507);
  });
});

it("records from before accounts are kept, and count for all together", async () => {
  const directory = await temporaryDirectory();
  await (await openStore({ directory })).close();
  const path = join(directory, "records.db");
  for (const file of ["", "-wal", "-shm"]) await rm(`${path}${file}`, { force: true });
  const old = new DatabaseSync(path);
  old.exec(`
    CREATE TABLE files (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
      etag TEXT NOT NULL, content_type TEXT NOT NULL, created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL,
      owner TEXT NOT NULL, kind TEXT NOT NULL, resource_id TEXT, version INTEGER, read_only INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE links (session_id TEXT NOT NULL, file_id TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
      owner TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (session_id, file_id)) STRICT, WITHOUT ROWID;
    CREATE TABLE opened (only INTEGER PRIMARY KEY CHECK (only = 1), at_ms INTEGER NOT NULL) STRICT;
    PRAGMA user_version = 1;`);
  const [id, session] = [newId(), newId()];
  const now = Date.now();
  old
    .prepare("INSERT INTO files VALUES (?, ?, 'a', 7, '', 'text/plain', ?, ?, 'o', 'user', NULL, NULL, 0)")
    .run(id, session, now, now);
  old.close();
  const store = await openStore({ directory });
  expect((await store.find(session, id))?.record).toMatchObject({ size: 7, storedBy: "" });
  expect(await store.usage(null)).toEqual({ bytes: 7, files: 1 });
  await store.remove(session, id);
  expect(await store.usage(null)).toEqual({ bytes: 0, files: 0 });
});
