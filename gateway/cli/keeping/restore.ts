/**
 * Puts an archive into a data directory. All of it is read, checked and written beside its place first; then it is moved
 * there. Killed before that, the next restore begins anew; killed after it, the next one goes on.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { chmod, chown, type FileHandle, mkdir, open, readdir, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../../common/ids.ts";
import type { Owner } from "../../host/data-directory.ts";
import { ArchiveError, linesOf, type ReadEntry, readEntries } from "./archive.ts";
import { foldersOf, inTheWay, MANIFEST, partOf, RESTORING } from "./layout.ts";
import { Counts, firstDifference, type Head, lineOf, whyNotReadable } from "./manifest.ts";
import { formatBytes, KeepingError, say } from "./place.ts";
import { SparseError, SparseReader } from "./sparse.ts";

export interface RestoreOptions {
  readonly source: string;
  readonly dataDir: string;
  readonly version: string;
  /** Of the gateway's files. */
  readonly owner: Owner;
  /** What is in the data directory goes. */
  readonly replace: boolean;
  /** A copy that runs beside the service that was backed up. */
  readonly newInstance: boolean;
  /** Of the manifest, as the backup said it; null: nobody kept it. */
  readonly digest: string | null;
}

/** Below `RESTORING`. */
const NEW = "new";
const OLD = "old";
/** Written when what is in `NEW` was checked. */
const VERIFIED = "verified";
/** Written when what was there before is in `OLD`. */
const CLEARED = "cleared";

/** Throws `KeepingError` or `ArchiveError`; the data directory is as it was then. */
export async function restore(options: RestoreOptions): Promise<void> {
  const { dataDir, replace } = options;
  const work = join(dataDir, RESTORING);
  if (existsSync(join(work, VERIFIED))) {
    say("An earlier restore was checked and not finished: going on with that one.");
    return place(dataDir, work);
  }
  await rm(work, { recursive: true, force: true });
  const present = inTheWay(await readdir(dataDir));
  if (present.length > 0 && !replace) {
    throw new KeepingError(
      `${dataDir} is not empty (${present.slice(0, 5).join(", ")}): nothing was changed. Restore into an empty directory (KERNELYARD_DATA_DIR), or add --replace to give up what is there.`,
    );
  }
  await mkdir(join(work, NEW), { recursive: true, mode: 0o700 });
  try {
    await unpack(options, work);
    spawnSync("sync", ["--file-system", work]);
    writeFileSync(join(work, VERIFIED), "", { flush: true });
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    throw error instanceof SparseError ? new ArchiveError(error.message) : cutShort(error);
  }
  await place(dataDir, work);
}

/** What a stream says of an entry that its archive does not have whole. */
function cutShort(error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return code === "ERR_STREAM_PREMATURE_CLOSE" ? new ArchiveError("it was cut short") : error;
}

async function unpack(options: RestoreOptions, work: string): Promise<void> {
  const unpacked = new Unpacked(join(work, NEW), options.owner, await open(join(work, "found"), "wx", 0o600));
  let manifest: string | null = null;
  const onHead = (head: Head) => {
    const why = whyNotReadable(head, options.version);
    if (why !== null) throw new ArchiveError(why);
    if (!options.newInstance) mustBeAlone(head, options.dataDir);
    say(`Made ${head.made_at} on ${head.host} by Kernelyard ${head.version}.`);
  };
  try {
    for await (const entry of readEntries(options.source, onHead)) {
      if (manifest !== null) throw new ArchiveError("it goes on after its manifest");
      if (entry.path === MANIFEST) manifest = await writeManifest(entry, join(work, "said"));
      else await unpacked.add(entry);
    }
    await unpacked.close();
  } finally {
    await unpacked.abandon();
  }
  if (manifest === null) throw new ArchiveError("it has no manifest: it was cut short");
  const difference = await firstDifference(linesOf(join(work, "said")), linesOf(join(work, "found")));
  if (difference !== null) throw new ArchiveError(`it was changed or damaged: ${difference}`);
  if (options.digest !== null && options.digest !== manifest) {
    throw new ArchiveError(`it is whole, and not the one that you mean: its digest is ${manifest}`);
  }
  if (options.newInstance) writeFileSync(join(work, NEW, "instance"), `${newId()}\n`);
  const { counts } = unpacked;
  say(
    `Checked: ${counts.entries("files")} files, ${counts.entries("keys")} keys, ${formatBytes(counts.bytes)}.`,
  );
}

/** Two services of one id on one engine would end each other's sandboxes. */
function mustBeAlone(head: Head, dataDir: string): void {
  let other: string;
  try {
    other = readFileSync(join(head.data_directory, "instance"), "utf8").trim();
  } catch {
    return;
  }
  if (other !== head.instance || head.data_directory === dataDir) return;
  throw new KeepingError(
    `The service of this backup is still on this machine, in ${head.data_directory}: remove or move that, or add --new-instance for a copy that runs beside it.`,
  );
}

async function writeManifest({ body }: ReadEntry, path: string): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(path, "wx", 0o600);
  try {
    for await (const chunk of body) {
      hash.update(chunk);
      await handle.appendFile(chunk);
    }
  } finally {
    await handle.close();
  }
  return hash.digest("hex");
}

/** What comes out of an archive, each file with the owner and mode of its part; and what the manifest should say of it. */
class Unpacked {
  readonly counts = new Counts();
  readonly #root: string;
  readonly #owner: Owner;
  readonly #found: FileHandle;
  readonly #folders = new Set<string>();
  #open = true;

  constructor(root: string, owner: Owner, found: FileHandle) {
    this.#root = root;
    this.#owner = owner;
    this.#found = found;
  }

  /** Throws `ArchiveError`, `SparseError`, or as `node:fs` does. */
  async add(entry: ReadEntry): Promise<void> {
    const part = partOf(entry.path);
    if (part === null)
      throw new ArchiveError(`${JSON.stringify(entry.path.slice(0, 200))} belongs into no data directory`);
    for (const folder of foldersOf(entry.path)) await this.#folder(folder.path, folder.owner);
    const path = join(this.#root, entry.path);
    const handle = await open(path, "wx", part.mode).catch((error: unknown) => {
      if (error instanceof Error && "code" in error && error.code === "EEXIST") {
        throw new ArchiveError(`${entry.path} is in it twice`);
      }
      throw error;
    });
    try {
      const sha256 = await write(handle, entry);
      await handle.chmod(part.mode);
      await handle.chown(...this.#ids(part.owner));
      if (entry.mtime !== null) await handle.utimes(entry.mtime, entry.mtime);
      await this.#found.appendFile(`${lineOf({ path: entry.path, bytes: entry.bytes, sha256 })}\n`);
      this.counts.add(part.name, entry.bytes);
    } finally {
      await handle.close();
    }
  }

  async close(): Promise<void> {
    await this.#found.appendFile(`${this.counts.line()}\n`);
    await this.abandon();
  }

  async abandon(): Promise<void> {
    if (this.#open) await this.#found.close();
    this.#open = false;
  }

  async #folder(path: string, owner: "root" | "gateway"): Promise<void> {
    if (this.#folders.has(path)) return;
    const folder = join(this.#root, path);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    await chown(folder, ...this.#ids(owner));
    this.#folders.add(path);
  }

  #ids(owner: "root" | "gateway"): [number, number] {
    return owner === "root" ? [0, 0] : [this.#owner.uid, this.#owner.gid];
  }
}

/** The digest of the entry's body. */
async function write(handle: FileHandle, { body, sparseSize }: ReadEntry): Promise<string> {
  const hash = createHash("sha256");
  const sparse = sparseSize === null ? null : new SparseReader(sparseSize);
  let at = 0;
  for await (const chunk of body) {
    hash.update(chunk);
    const pieces = sparse?.read(chunk) ?? [{ at, data: chunk }];
    for (const piece of pieces) await writeAll(handle, piece.data, piece.at);
    at += chunk.length;
  }
  sparse?.end();
  if (sparseSize !== null) await handle.truncate(sparseSize);
  return hash.digest("hex");
}

async function writeAll(handle: FileHandle, data: Buffer, at: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await handle.write(data, done, data.length - done, at + done)).bytesWritten;
  }
}

/** Moves alone: whoever is killed in between goes on here. */
async function place(dataDir: string, work: string): Promise<void> {
  const old = join(work, OLD);
  if (!existsSync(join(work, CLEARED))) {
    await mkdir(old, { recursive: true, mode: 0o700 });
    for (const name of inTheWay(await readdir(dataDir))) await rename(join(dataDir, name), join(old, name));
    writeFileSync(join(work, CLEARED), "", { flush: true });
  }
  for (const name of await readdir(join(work, NEW))) await rename(join(work, NEW, name), join(dataDir, name));
  await rm(work, { recursive: true, force: true });
  say(`Restored into ${await realpath(dataDir)}.`);
}
