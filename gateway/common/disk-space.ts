/** Space of a file system that is kept free: what would take it is refused while there is still room to work. */
import { statfs } from "node:fs/promises";

const GIB = 1024 ** 3;
/** Without a setting: a twentieth of the file system, and no more than this. */
const LARGEST_DEFAULT = 10 * GIB;

export interface DiskSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Of the free ones, those that are kept. */
  readonly reserveBytes: number;
}

export class DiskReserve {
  readonly #path: string;
  readonly #setting: number | null;

  /** `setting`: `KERNELYARD_DISK_RESERVE`. */
  constructor(path: string, setting: number | null) {
    this.#path = path;
    this.#setting = setting;
  }

  async space(): Promise<DiskSpace> {
    const { bavail, blocks, bsize } = await statfs(this.#path);
    const totalBytes = blocks * bsize;
    const reserveBytes = this.#setting ?? Math.min(LARGEST_DEFAULT, Math.floor(totalBytes / 20));
    return { totalBytes, freeBytes: bavail * bsize, reserveBytes };
  }

  /** Why so many bytes more would be too many; null when they are not. */
  async problemWith(bytes: number): Promise<string | null> {
    const { freeBytes, reserveBytes } = await this.space();
    if (freeBytes - bytes >= reserveBytes) return null;
    return `${freeBytes} bytes are free on the disk and ${reserveBytes} of them are kept (KERNELYARD_DISK_RESERVE); free space in the data directory`;
  }
}
