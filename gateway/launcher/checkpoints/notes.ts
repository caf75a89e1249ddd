/**
 * Notes for the checkpoint runtime (`gateway/host/checkpoint-runtime.sh`): what it is to do for a container in place of
 * the engine's plain start or signal. It takes a note away when it acts on it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKPOINT_NOTES } from "../../host/isolation.ts";
import { quotaFiles } from "../engine/cpu-share.ts";

const STALE_MS = 10 * 60_000;

export class CheckpointNotes {
  readonly #directory: string;

  constructor(directory: string = CHECKPOINT_NOTES) {
    this.#directory = directory;
  }

  /** Throws when this process cannot leave notes on this host. */
  prepare(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    // Of launchers that died: of whichever host's, for no start takes that long.
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > STALE_MS) rmSync(path, { force: true });
    }
  }

  /** The next start of the container restores `checkpoint`, with the CPU quota lifted. */
  restore(containerId: string, checkpoint: string): void {
    const { version1, version2 } = quotaFiles(containerId);
    this.#leave(containerId, [
      `restore ${checkpoint}`,
      ...version1.map((file) => `unlimited-v1 ${file}`),
      ...version2.map((file) => `unlimited-v2 ${file}`),
    ]);
  }

  /** The next `SAVE_SIGNAL` to the container saves it to `checkpoint`, which must not exist yet, and ends it. */
  save(containerId: string, checkpoint: string): void {
    this.#leave(containerId, [`save ${checkpoint}`]);
  }

  /** False when nobody has acted on the note: the runtime does not read notes here. */
  taken(containerId: string): boolean {
    return !existsSync(this.#path(containerId));
  }

  remove(containerId: string): void {
    rmSync(this.#path(containerId), { force: true });
  }

  #leave(containerId: string, lines: readonly string[]): void {
    const path = this.#path(containerId);
    writeFileSync(`${path}.new`, `${lines.join("\n")}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  #path(containerId: string): string {
    return join(this.#directory, containerId);
  }
}
