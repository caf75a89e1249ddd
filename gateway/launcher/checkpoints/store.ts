/**
 * Where checkpoints are, below a directory of root's alone. What a directory is follows from where it stands; it gets
 * there by rename, so that a launcher that dies leaves nothing half done but what `open` removes:
 *
 *   key                   of the seal
 *   templates/KEY/        what new sandboxes are made from
 *   sessions/VOLUME/      a session asleep
 *   saving/SANDBOX/       being written
 *   waking/SANDBOX/       being restored: never to be used again
 *   awake/VOLUME          sessions that have, or had, variables to lose
 */
import { mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { Asleep } from "./asleep.ts";
import { Ledger } from "./ledger.ts";
import { BrokenCheckpoint, type Manifest, Seal } from "./seal.ts";

/** A session's checkpoint that was taken for its one wake. */
export interface TakenCheckpoint {
  readonly directory: string;
  readonly manifest: Manifest;
}

export class CheckpointStore {
  readonly seal: Seal;
  readonly ledger: Ledger;
  /** What is in `sessions/`: read once, and kept as it changes. */
  readonly asleep = new Asleep();
  readonly #directory: string;

  private constructor(directory: string, seal: Seal) {
    this.#directory = directory;
    this.seal = seal;
    this.ledger = new Ledger(join(directory, "awake"));
  }

  /** Removes what a launcher before us did not finish; sessions whose wake broke off have lost their variables. */
  static async open(directory: string): Promise<CheckpointStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const part of ["templates", "sessions", "saving", "waking", "awake"]) {
      await mkdir(join(directory, part), { recursive: true, mode: 0o700 });
    }
    const store = new CheckpointStore(directory, await Seal.open(join(directory, "key")));
    await store.removeUnfinished(() => false);
    for (const volume of await readdir(join(directory, "sessions"))) await store.#look(volume);
    return store;
  }

  templateDirectory(key: string): string {
    return this.#at("templates", key);
  }

  /** Templates by their keys, finished or not. */
  async templates(): Promise<string[]> {
    return readdir(join(this.#directory, "templates"));
  }

  savingDirectory(sandboxId: string): string {
    return this.#at("saving", sandboxId);
  }

  /** A session is asleep from here on. */
  async keepSession(saved: string, volume: string): Promise<void> {
    const asleep = this.sessionDirectory(volume);
    await this.#removeSaved(volume);
    await rename(saved, asleep);
    this.ledger.forget(volume);
    await this.#look(volume);
  }

  /** For its one wake; null when it is not asleep. Throws `BrokenCheckpoint`, and the checkpoint is gone. */
  async takeSession(volume: string, sandboxId: string): Promise<TakenCheckpoint | null> {
    const directory = this.#at("waking", sandboxId);
    try {
      await rename(this.sessionDirectory(volume), directory);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      this.asleep.gone(volume);
      return null;
    }
    this.asleep.gone(volume);
    this.ledger.awake(volume, sandboxId);
    try {
      const manifest = await this.seal.read(directory);
      if (manifest === null) throw new BrokenCheckpoint("its saved state is incomplete");
      if (manifest.owner !== volume) throw new BrokenCheckpoint("its saved state is another session's");
      return { directory, manifest };
    } catch (error) {
      await this.remove(directory);
      throw error;
    }
  }

  /** It was not used after all. */
  async putBack({ directory }: TakenCheckpoint, volume: string): Promise<void> {
    await this.keepSession(directory, volume);
  }

  /** Variables of the session are lost; its next sandbox is told `why`. */
  async dropSession(volume: string, why: string): Promise<void> {
    await this.#removeSaved(volume);
    this.ledger.lost(volume, why);
  }

  /** The session's files go, and with them what was saved of it. */
  async removeSession(volume: string): Promise<void> {
    await this.#removeSaved(volume);
    this.ledger.forget(volume);
  }

  sessionDirectory(volume: string): string {
    return this.#at("sessions", volume);
  }

  /** Bytes that may still be written where checkpoints are. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory);
    return bavail * bsize;
  }

  /** What a launcher that died had the engine begin may appear when the next one has begun. */
  async removeUnfinished(isAtWork: (sandboxId: string) => boolean): Promise<void> {
    for (const part of ["saving", "waking"]) {
      for (const name of await readdir(join(this.#directory, part))) {
        if (!isAtWork(name)) await this.remove(this.#at(part, name));
      }
    }
  }

  async remove(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true });
  }

  async #removeSaved(volume: string): Promise<void> {
    this.asleep.gone(volume);
    await this.remove(this.sessionDirectory(volume));
  }

  /** Where its manifest is broken, that is told when it is to wake: it takes its place on the disk all the same. */
  async #look(volume: string): Promise<void> {
    const directory = this.sessionDirectory(volume);
    try {
      let bytes = 0;
      for (const name of await readdir(directory)) bytes += (await stat(join(directory, name))).size;
      const savedAt = (await stat(directory)).mtimeMs;
      const manifest = await this.seal.read(directory).catch(() => null);
      const session = manifest?.owner === volume ? (manifest.session ?? null) : null;
      this.asleep.here({ volume, bytes, savedAt, session });
    } catch {
      this.asleep.gone(volume);
    }
  }

  #at(part: string, name: string): string {
    return join(this.#directory, part, name);
  }
}
