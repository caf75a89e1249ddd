/** Ext4 images of one size: copies of a template, sparse; checked before they are mounted again. */
import { execFile } from "node:child_process";
import { access, open, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { newId } from "../engine/labels.ts";
import { SANDBOX_UID } from "../spec/create-body.ts";
import { attachLoopDevice, releaseLoopDevice } from "./loop-devices.ts";

const run = promisify(execFile);
const COMMAND_DEADLINE_MS = 60_000;
const SUFFIX = ".ext4";
/** `stat` counts in these, whatever the file system's blocks are. */
export const STAT_BLOCK_BYTES = 512;

/** The part of an ext4 superblock that tells how it was left: offsets from the beginning of the file system. */
const SUPERBLOCK = { at: 1024, bytes: 1024, magicAt: 0x38, stateAt: 0x3a, incompatAt: 0x60 } as const;
const MAGIC = 0xef53;
const CLEANLY_UNMOUNTED = 0x1;
const ERRORS_SEEN = 0x2;
const NEEDS_RECOVERY = 0x4;
/** `e2fsck`: from this bit on it could not do what it was asked to. */
const UNCORRECTED = 4;

/** The image holds errors that nobody but a person can put right. */
export class DamagedImage extends Error {
  override readonly name = "DamagedImage";
}

export class Images {
  readonly directory: string;
  readonly #parent: string;
  readonly #sizeBytes: number;

  /** In `images/` below `parent`. */
  constructor(parent: string, sizeBytes: number) {
    this.#parent = parent;
    this.directory = join(parent, "images");
    this.#sizeBytes = sizeBytes;
  }

  pathOf(volume: string): string {
    return join(this.directory, volume + SUFFIX);
  }

  volumeOf(image: string): string {
    return basename(image, SUFFIX);
  }

  async volumes(): Promise<string[]> {
    const files = await readdir(this.directory);
    return files.filter((file) => file.endsWith(SUFFIX)).map((file) => file.slice(0, -SUFFIX.length));
  }

  /** Proves that images can be made here and put behind loop devices; a host can have the control device and still refuse. */
  async prove(): Promise<void> {
    const device = await attachLoopDevice(await this.#template());
    await releaseLoopDevice(device.path);
    await device.handle.close();
  }

  /** A new image, unless there is one. */
  async ensure(image: string): Promise<void> {
    if (await exists(image)) return;
    const template = await this.#template();
    const temporary = `${image}.${newId()}.tmp`;
    try {
      await command("cp", ["--sparse=always", "--reflink=auto", template, temporary]);
      await rename(temporary, image);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** To be called while nothing mounts it. Repairs what is safe to repair; throws `DamagedImage`. */
  async check(image: string): Promise<void> {
    if (await wasCleanlyUnmounted(image)) return;
    try {
      await command("e2fsck", ["-p", image]);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : null;
      if (typeof code !== "number") throw error;
      if (code < UNCORRECTED) return;
      throw new DamagedImage(`its file system holds errors: look at it with e2fsck -f ${image}`);
    }
  }

  /** How many bytes of the disk an image may still take; one that is not there, all of them. */
  async growth(image: string): Promise<number> {
    const found = await stat(image).catch(() => null);
    if (found === null) return this.#sizeBytes;
    return Math.max(0, found.size - found.blocks * STAT_BLOCK_BYTES);
  }

  async has(image: string): Promise<boolean> {
    return exists(image);
  }

  /** How many there are, and the bytes of the disk that they take together. */
  async taken(): Promise<{ readonly count: number; readonly bytes: number }> {
    const volumes = await this.volumes();
    let bytes = 0;
    for (const volume of volumes) {
      const found = await stat(this.pathOf(volume)).catch(() => null);
      bytes += (found?.blocks ?? 0) * STAT_BLOCK_BYTES;
    }
    return { count: volumes.length, bytes };
  }

  /** What earlier processes left half-made. */
  async removeTemporaries(): Promise<void> {
    for (const directory of [this.#parent, this.directory]) {
      for (const file of await readdir(directory)) {
        if (file.endsWith(".tmp")) await rm(join(directory, file), { force: true });
      }
    }
  }

  async #template(): Promise<string> {
    const template = join(this.#parent, `template-${this.#sizeBytes}${SUFFIX}`);
    if (await exists(template)) return template;
    const temporary = `${template}.${newId()}.tmp`;
    try {
      await (await open(temporary, "wx", 0o600)).close();
      await truncate(temporary, this.#sizeBytes);
      const owner = `root_owner=${SANDBOX_UID}:${SANDBOX_UID},nodiscard,lazy_itable_init=0`;
      await command("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", owner, temporary]);
      await command("debugfs", ["-w", "-R", "rmdir lost+found", temporary]);
      await rename(temporary, template);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    return template;
  }
}

async function wasCleanlyUnmounted(image: string): Promise<boolean> {
  const block = Buffer.alloc(SUPERBLOCK.bytes);
  const handle = await open(image, "r");
  try {
    await handle.read(block, 0, block.length, SUPERBLOCK.at);
  } finally {
    await handle.close();
  }
  const state = block.readUInt16LE(SUPERBLOCK.stateAt);
  return (
    block.readUInt16LE(SUPERBLOCK.magicAt) === MAGIC &&
    (state & CLEANLY_UNMOUNTED) !== 0 &&
    (state & ERRORS_SEEN) === 0 &&
    (block.readUInt32LE(SUPERBLOCK.incompatAt) & NEEDS_RECOVERY) === 0
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function command(program: string, args: readonly string[]): Promise<void> {
  // The packages' own folders: not on every service's PATH.
  const PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`;
  await run(program, args, { timeout: COMMAND_DEADLINE_MS, env: { ...process.env, PATH } });
}
