/** Makes an archive of a data directory, also while its service runs. Nothing half-written is in it, or left of it. */
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, stat, statfs } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import type { DiskReserve } from "../../common/disk-space.ts";
import { STAT_BLOCK_BYTES } from "../../launcher/volumes/images.ts";
import { ArchiveWriter } from "./archive.ts";
import { CopiedRecords, CopyError, copyDatabase, copyImage } from "./copies.ts";
import { COPIES, strangers } from "./layout.ts";
import { FORMAT, type Head } from "./manifest.ts";
import { formatBytes, KeepingError, say } from "./place.ts";
import { type Planned, planBackup } from "./plan.ts";
import { extentsOf } from "./sparse.ts";

const TAIL_BYTES = 64 * 1024;
/** Records of files that are gone, forgotten together. */
const FORGOTTEN_TOGETHER = 1000;

export interface BackupOptions {
  readonly dataDir: string;
  /** Of the archive; it must not be there. */
  readonly destination: string;
  readonly version: string;
  /** Of the data directory's disk, on which images are copied one at a time. */
  readonly reserve: DiskReserve;
  /** Take no session volumes, where they have no images. */
  readonly withoutSessions: boolean;
}

/** Throws `KeepingError`, `CopyError`, or as `node:fs` does; then nothing of the archive is there. */
export async function backUp(options: BackupOptions): Promise<void> {
  const { dataDir, destination } = options;
  if (existsSync(destination))
    throw new KeepingError(`${destination} is there already: choose another name.`);
  const instance = (await readFile(join(dataDir, "instance"), "utf8").catch(() => "")).trim();
  if (instance === "") {
    throw new KeepingError(
      `${dataDir} is no data directory of a service that has run: set KERNELYARD_DATA_DIR.`,
    );
  }
  await mustHaveImages(options);
  const copies = join(dataDir, COPIES);
  // What a backup that was killed has left.
  await rm(copies, { recursive: true, force: true });
  await mkdir(copies, { mode: 0o700 });
  let writer: ArchiveWriter | null = null;
  try {
    await mustFit(options);
    const head: Head = {
      format: FORMAT,
      version: options.version,
      made_at: new Date().toISOString(),
      host: hostname(),
      data_directory: dataDir,
      instance,
    };
    writer = await ArchiveWriter.create(destination, join(copies, "manifest"), head);
    await fill(writer, options, copies);
    const digest = await writer.finish();
    const { counts } = writer;
    writer = null;
    say(
      `${destination}: ${counts.entries("files")} files, ${counts.entries("volumes") / 2} session volumes, ` +
        `${counts.entries("keys")} keys, ${counts.entries("audit")} files of the audit log, ${formatBytes(counts.bytes)}.`,
    );
    say(`Digest (keep it elsewhere; \`npm run restore\` takes it with --digest): ${digest}`);
  } finally {
    await writer?.abandon();
    await rm(copies, { recursive: true, force: true });
  }
}

async function mustHaveImages({ dataDir, withoutSessions }: BackupOptions): Promise<void> {
  const mode = await readFile(join(dataDir, "volumes", "quota-mode"), "utf8").catch(() => "loop");
  if (mode.trim() === "loop" || withoutSessions) return;
  throw new KeepingError(
    "Session volumes of this host are plain Docker volumes (it has no loop devices), of which no copy of one moment can be " +
      "made. Add --without-sessions to back up everything else, and copy them by the engine's own means while the service is stopped.",
  );
}

async function mustFit({ dataDir, destination }: BackupOptions): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(destination));
  const images = join(dataDir, "volumes", "images");
  let bytes = 0;
  for (const folder of [images, ...(await foldersOfContent(dataDir))]) {
    for (const name of await namesIn(folder)) {
      const found = await stat(join(folder, name)).catch(() => null);
      bytes += (found?.blocks ?? 0) * STAT_BLOCK_BYTES;
    }
  }
  if (bytes <= bavail * bsize) return;
  throw new KeepingError(
    `The archive takes about ${formatBytes(bytes)}, and ${formatBytes(bavail * bsize)} are free in ${dirname(destination)}. Nothing was written.`,
  );
}

async function fill(writer: ArchiveWriter, options: BackupOptions, copies: string): Promise<void> {
  const { dataDir } = options;
  const plan = planBackup({ files: await filesOf(dataDir), withVariables: await withVariables(dataDir) });
  for (const planned of plan.before) await take(planned, writer, options, copies);
  await takeFiles(writer, dataDir, copies);
  for (const planned of plan.after) await take(planned, writer, options, copies);
  const asleep = (await namesIn(join(dataDir, "checkpoints", "sessions"))).length;
  if (asleep > 0) say(`${asleep} sessions asleep: their files are in the archive, their variables are not.`);
  const unknown = strangers(await readdir(dataDir));
  if (unknown.length > 0) say(`Left out, as nothing of Kernelyard's: ${unknown.join(", ")}.`);
}

async function take(
  planned: Planned,
  writer: ArchiveWriter,
  { dataDir, reserve, withoutSessions }: BackupOptions,
  copies: string,
): Promise<void> {
  const { path } = planned;
  const from = join(dataDir, path);
  switch (planned.how) {
    case "made":
      return writer.addText(path, planned.text);
    case "whole":
      await writer.addFile(path, from);
      return;
    case "lines":
      await writer.addFile(path, from, wholeLines);
      return;
    case "image": {
      if (withoutSessions) return;
      const found = await stat(from).catch(() => null);
      if (found === null) return;
      const problem = await reserve.problemWith(found.blocks * STAT_BLOCK_BYTES);
      if (problem !== null) throw new CopyError(`${from} cannot be copied beside itself: ${problem}`);
      const copy = join(copies, "image");
      if (!(await copyImage(from, copy))) return;
      await writer.addSparse(path, copy, await extentsOf(copy), found.mtimeMs);
      await rm(copy);
    }
  }
}

/** The records of one moment, and the content that they name: it never changes, it only goes. */
async function takeFiles(writer: ArchiveWriter, dataDir: string, copies: string): Promise<void> {
  const database = join(dataDir, "gateway", "files", "records.db");
  if (!existsSync(database)) return;
  const copy = join(copies, "records.db");
  await copyDatabase(database, copy);
  const records = new CopiedRecords(copy);
  let damaged = 0;
  try {
    let gone: string[] = [];
    for (const { id, etag } of records.files()) {
      const path = `gateway/files/content/${id.charAt(0)}/${id}`;
      const sha256 = await writer.addFile(path, join(dataDir, path));
      if (sha256 === null) gone.push(id);
      else if (sha256 !== etag) damaged += 1;
    }
    while (gone.length > 0) {
      records.forget(gone.slice(0, FORGOTTEN_TOGETHER));
      gone = gone.slice(FORGOTTEN_TOGETHER);
    }
  } finally {
    records.close();
  }
  await writer.addFile("gateway/files/records.db", copy);
  if (damaged > 0)
    say(
      `${damaged} files are not as they were stored: the disk has changed them. They are in the archive as they are.`,
    );
}

/** Bytes up to the last line's end: what comes behind is being written. */
async function wholeLines(path: string, size: number): Promise<number> {
  const handle = await open(path, "r");
  try {
    const length = Math.min(size, TAIL_BYTES);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return size - length + buffer.subarray(0, bytesRead).lastIndexOf(10) + 1;
  } finally {
    await handle.close();
  }
}

/** What the plan chooses from: no file's content is among it, of which there may be very many. */
async function filesOf(dataDir: string): Promise<string[]> {
  const found: string[] = [];
  for (const folder of [
    "",
    "keys",
    "gateway",
    "gateway/audit",
    "volumes",
    "volumes/last-use",
    "volumes/images",
  ]) {
    for (const name of await namesIn(join(dataDir, folder))) found.push(join(folder, name));
  }
  return found;
}

async function withVariables(dataDir: string): Promise<string[]> {
  const parts = ["sessions", "awake"].map((part) => namesIn(join(dataDir, "checkpoints", part)));
  return (await Promise.all(parts)).flat().filter((name) => !name.startsWith("."));
}

async function foldersOfContent(dataDir: string): Promise<string[]> {
  const content = join(dataDir, "gateway", "files", "content");
  return (await namesIn(content)).map((name) => join(content, name));
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return [];
    throw error;
  });
}
