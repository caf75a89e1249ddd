/** A service's log file of bounded size: at the limit its content moves to `NAME.1` and it starts anew. */
import { copyFileSync, openSync, statSync, truncateSync } from "node:fs";

const LIMIT_BYTES = 16 * 1024 * 1024;
const LOOK_EVERY_MS = 30_000;

export class LogFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    setInterval(() => this.#keepWithinLimit(), LOOK_EVERY_MS).unref();
  }

  /** A descriptor for appending. Writers keep it open while the file is cut: appending goes on at the new end. */
  open(): number {
    const descriptor = openSync(this.path, "a", 0o640);
    this.#keepWithinLimit();
    return descriptor;
  }

  #keepWithinLimit(): void {
    if ((statSync(this.path, { throwIfNoEntry: false })?.size ?? 0) <= LIMIT_BYTES) return;
    copyFileSync(this.path, `${this.path}.1`);
    truncateSync(this.path);
  }
}
