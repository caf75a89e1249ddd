/**
 * Copies of what changes while the service runs, each of one moment: the records' database between two of its
 * checkpoints, a session's image while its file system takes no writes.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { z } from "@hono/zod-openapi";
import { loopDeviceOf } from "../../launcher/volumes/loop-devices.ts";

const run = promisify(execFile);
const ATTEMPTS = 50;
const BETWEEN_MS = 100;
/** Two writes of one tick of the clock have one time. */
const SETTLED_MS = 50;
/** A file system takes no writes for as long as its copy takes, and never longer than this. */
const FROZEN_AT_MOST_S = 60;

/** It changed under our hands again and again, or cannot be copied; the message says what to do. */
export class CopyError extends Error {
  override readonly name = "CopyError";
}

/** Size and times of a file, as one text; null when it is not there. */
async function stamp(path: string): Promise<string | null> {
  const found = await stat(path, { bigint: true }).catch(() => null);
  return found === null ? null : [found.ino, found.size, found.mtimeNs, found.ctimeNs].join(" ");
}

async function settled(path: string): Promise<boolean> {
  const { mtimeMs } = await stat(path);
  return Date.now() - mtimeMs > SETTLED_MS;
}

/** What changes when SQLite begins its log anew. */
async function logHeader(path: string): Promise<string> {
  const handle = await open(path, "r").catch(() => null);
  if (handle === null) return "";
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(32), 0, 32, 0);
    return buffer.subarray(0, bytesRead).toString("hex");
  } finally {
    await handle.close();
  }
}

/**
 * A database with all that was committed, as one file. The gateway holds its lock for good, so it is copied as bytes: while
 * nothing is moved from the log into the file, file and log are one state, and a commit that is half in the log is none.
 */
export async function copyDatabase(path: string, copy: string): Promise<void> {
  const log = `${path}-wal`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await delay(BETWEEN_MS);
    if (!(await settled(path))) continue;
    const before = [await stamp(path), await logHeader(log)].join();
    await copyBytes(path, copy);
    if ((await stat(log).catch(() => null)) !== null) await copyBytes(log, `${copy}-wal`);
    if ([await stamp(path), await logHeader(log)].join() !== before) {
      await rm(`${copy}-wal`, { force: true });
      continue;
    }
    const database = new DatabaseSync(copy);
    try {
      database.exec("PRAGMA journal_mode = DELETE");
      const [first] = database.prepare("PRAGMA integrity_check").all();
      if (first?.integrity_check !== "ok")
        throw new CopyError(`${path} is damaged: ${String(first?.integrity_check)}`);
    } finally {
      database.close();
    }
    return;
  }
  throw new CopyError(
    `${path} is written to without a pause: try again when fewer files come, or stop the service`,
  );
}

async function copyBytes(path: string, copy: string): Promise<void> {
  await pipeline(createReadStream(path), createWriteStream(copy, { mode: 0o600 }));
}

const FileRow = z.object({ id: z.string().regex(/^[A-Za-z0-9_-]{21}$/), etag: z.string() });

/** The records of a copied database. */
export class CopiedRecords {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
  }

  /** Ids with the digests of their content, one after the other. */
  *files(): Generator<{ readonly id: string; readonly etag: string }> {
    for (const row of this.#database.prepare("SELECT id, etag FROM files ORDER BY id").iterate()) {
      yield FileRow.parse(row);
    }
  }

  /** They were deleted, or their time was over, after the database was copied. */
  forget(ids: readonly string[]): void {
    const statement = this.#database.prepare("DELETE FROM files WHERE id = ?");
    for (const id of ids) statement.run(id);
  }

  close(): void {
    this.#database.close();
  }
}

/** A session's image as it is at one moment, with its holes. False: it is gone. */
export async function copyImage(image: string, copy: string): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await delay(BETWEEN_MS);
    if ((await stat(image).catch(() => null)) === null) return false;
    const device = await loopDeviceOf(image);
    if (device === null) {
      // Nobody has it: who mounts it meanwhile writes to it at once, and that shows.
      if (!(await settled(image))) continue;
      const before = await stamp(image);
      await copySparse(image, copy);
      if ((await loopDeviceOf(image)) === null && (await stamp(image)) === before) return true;
      continue;
    }
    const mounted = await mountOf(device.path);
    // Between attaching and mounting, or between unmounting and letting go.
    if (mounted === null) continue;
    const frozen = await freeze(mounted);
    if (frozen === null) continue;
    try {
      await copySparse(image, copy);
    } finally {
      await frozen.thaw();
    }
    if (!frozen.lost) return true;
  }
  throw new CopyError(
    `${image} could not be copied in ${ATTEMPTS} attempts: its session starts and ends, or its file system is mounted where this command does not see it. Try again, or stop the service first`,
  );
}

async function copySparse(from: string, to: string): Promise<void> {
  await run("cp", ["--sparse=always", "--reflink=auto", from, to]);
}

/** Where the device's file system is mounted, as seen from some process of this machine; null: nowhere. */
async function mountOf(device: string): Promise<string | null> {
  const number = (
    await readFile(`/sys/block/${device.slice("/dev/".length)}/dev`, "utf8").catch(() => "")
  ).trim();
  if (number === "") return null;
  const text = await readFile("/proc/self/mountinfo", "utf8");
  for (const line of text.split("\n")) {
    const [, , dev, root, point] = line.split(" ");
    if (dev === number && root === "/" && point !== undefined) return unescaped(point);
  }
  return null;
}

/** The kernel writes blanks and backslashes in octal. */
function unescaped(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

interface Frozen {
  /** It took writes again before it was thawed. */
  readonly lost: boolean;
  thaw(): Promise<void>;
}

/**
 * Whoever writes there waits. The helper is in a process group of its own and thaws when we are gone, killed too, and after a
 * minute at the latest. Its working directory keeps the file system reachable when its last mount goes meanwhile.
 */
async function freeze(mountPoint: string): Promise<Frozen | null> {
  const helper = spawn("sh", [join(import.meta.dirname, "freeze.sh"), mountPoint, String(FROZEN_AT_MOST_S)], {
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const gone = once(helper, "exit");
  const said = await Promise.race([firstWord(helper), gone.then(() => "")]);
  if (said !== "frozen") {
    helper.stdin.end();
    await gone;
    return null;
  }
  const began = performance.now();
  let lost = false;
  return {
    get lost() {
      return lost;
    },
    async thaw() {
      lost = helper.exitCode !== null || performance.now() - began > (FROZEN_AT_MOST_S - 1) * 1000;
      helper.stdin.on("error", () => {});
      helper.stdin.end();
      const [code] = await gone;
      if (code === 0) return;
      // The helper was killed: nobody may be left waiting.
      await run("fsfreeze", ["--unfreeze", mountPoint]).catch(() => {});
    },
  };
}

async function firstWord({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) return "";
  const [chunk] = await once(stdout, "data");
  return String(chunk).trim();
}
