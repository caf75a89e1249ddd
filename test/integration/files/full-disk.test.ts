/** A real full disk: a small tmpfs with the store on it. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { FileStoreError } from "../../../gateway/server/files/store.ts";
import { chunks, contentFiles, DAY_MS, NO_LIMIT, put, text } from "../../support/files/store.ts";

const MIB = 1024 * 1024;

async function storeOnSmallDisk(): Promise<{ store: DiskFileStore; directory: string }> {
  const mountPoint = mkdtempSync(join(tmpdir(), "kernelyard-full-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", mountPoint]);
  let store: DiskFileStore | null = null;
  onTestFinished(async () => {
    await store?.close();
    execFileSync("umount", [mountPoint]);
    rmSync(mountPoint, { recursive: true });
  });
  store = await DiskFileStore.open({ directory: mountPoint, ttlMs: DAY_MS });
  return { store, directory: mountPoint };
}

/** Somebody else fills what is left, to the last byte. */
function fill(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(join(directory, "filler"), Buffer.alloc(Number(bavail) * Number(bsize)));
  expect(statfsSync(directory).bavail).toBe(0);
}

it("a file that does not fit is refused, whole, and what was there stays", async () => {
  const { store, directory } = await storeOnSmallDisk();
  const kept = await put(store, Buffer.alloc(2 * MIB, "k"));
  const error = await store
    .stage(chunks(...Array.from({ length: 20 }, () => Buffer.alloc(MIB))), NO_LIMIT)
    .catch((e: unknown) => e);
  expect(error).toBeInstanceOf(FileStoreError);
  expect(error).toMatchObject({
    code: "storage_full",
    message: expect.stringContaining("KERNELYARD_FILE_TTL_MS"),
  });
  expect(await contentFiles(directory)).toEqual([kept.id]);
  expect((await text(await store.open(kept))).length).toBe(2 * MIB);
});

it("with not one byte left, files can be read, listed and deleted, and then there is room again", async () => {
  const { store, directory } = await storeOnSmallDisk();
  const records = [];
  for (let i = 0; i < 20; i++) records.push(await put(store, Buffer.alloc(64 * 1024, "x")));
  fill(directory);

  await expect(put(store, Buffer.alloc(100_000))).rejects.toMatchObject({ code: "storage_full" });
  const [first, ...rest] = records;
  if (!first) throw new Error("no record");
  expect(await store.list(first.storageSessionId)).toHaveLength(1);
  expect((await text(await store.open(first))).length).toBe(64 * 1024);
  for (const record of [first, ...rest]) {
    expect(await store.remove(record.storageSessionId, record.id)).toBe(true);
  }
  expect(await contentFiles(directory)).toEqual([]);
  const again = await put(store, "room");
  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 0, orphanedRecords: 0 });
  expect(await text(await store.open(again))).toBe("room");
});

it("with not one byte left, files whose time is over are swept", async () => {
  const mountPoint = await storeOnSmallDisk();
  const { directory } = mountPoint;
  await mountPoint.store.close();
  let now = Date.now();
  const store = await DiskFileStore.open({ directory, ttlMs: DAY_MS, now: () => now });
  onTestFinished(() => store.close());
  for (let i = 0; i < 20; i++) await put(store, Buffer.alloc(64 * 1024, "x"));
  fill(directory);
  now += 2 * DAY_MS;
  expect(await store.sweep()).toMatchObject({ expired: 20 });
  expect(await contentFiles(directory)).toEqual([]);
});
