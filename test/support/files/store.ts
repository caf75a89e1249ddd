/** A store on disk for one test, and files in any store. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import { DiskFileStore, type DiskFileStoreOptions } from "../../../gateway/server/files/disk/store.ts";
import type { FileRecord, FileStore, NewFile } from "../../../gateway/server/files/store.ts";
import { HOLDER, newFile } from "./new-file.ts";

export const DAY_MS = 86_400_000;
export const NO_LIMIT = { maxBytes: 1024 * 1024 * 1024, holder: HOLDER };

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "kernelyard-files-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function openStore(options: Partial<DiskFileStoreOptions> = {}): Promise<DiskFileStore> {
  const directory = options.directory ?? (await temporaryDirectory());
  const store = await DiskFileStore.open({ ttlMs: DAY_MS, ...options, directory });
  onTestFinished(() => store.close());
  return store;
}

export async function* chunks(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part;
}

export async function put(
  store: FileStore,
  content: string | Uint8Array,
  overrides: Partial<NewFile> = {},
): Promise<FileRecord> {
  const staged = await store.stage(chunks(content), NO_LIMIT);
  const [record] = await store.commit([{ staged, file: newFile(overrides) }]);
  if (!record) throw new Error("commit returned no record");
  return record;
}

export async function text(stream: Readable | null): Promise<string> {
  if (!stream) throw new Error("there is no content");
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString();
}

/** Every file that holds bytes, finished or not. */
export async function contentFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\/(incoming|content)(\/|$)/.test(entry.parentPath))
    .map((entry) => entry.name);
}
