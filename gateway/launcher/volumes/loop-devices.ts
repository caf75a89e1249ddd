/** Loop devices of this host: which file is behind which, attach, let go. Needs root and /dev/loop-control. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { type FileHandle, open, readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const COMMAND_DEADLINE_MS = 10_000;

export interface LoopDevice {
  /** `/dev/loopN` */
  readonly path: string;
  readonly backingFile: string;
  readonly autoclear: boolean;
}

export function loopDevicesPresent(): boolean {
  return existsSync("/dev/loop-control") && existsSync("/sys/block");
}

export async function listLoopDevices(): Promise<LoopDevice[]> {
  const names = (await readdir("/sys/block")).filter((name) => /^loop\d+$/.test(name));
  const devices: LoopDevice[] = [];
  for (const name of names) {
    const backingFile = await readLine(`/sys/block/${name}/loop/backing_file`);
    if (backingFile === null) continue;
    const autoclear = (await readLine(`/sys/block/${name}/loop/autoclear`)) === "1";
    devices.push({ path: `/dev/${name}`, backingFile, autoclear });
  }
  return devices;
}

/** The device in front of `file`; null when there is none. */
export async function loopDeviceOf(file: string): Promise<LoopDevice | null> {
  return (await listLoopDevices()).find((device) => device.backingFile === file) ?? null;
}

/**
 * Errors of the ext4 that is mounted from it, since it was made; 0 where the kernel does not say. With `errors=remount-ro`
 * it takes no further write from the first of them on.
 */
export async function fileSystemErrors(path: string): Promise<number> {
  const name = path.slice("/dev/".length);
  return Number((await readLine(`/sys/fs/ext4/${name}/errors_count`)) ?? 0);
}

/** An open descriptor keeps the device even when its last mount goes at this moment; close it when done. */
export interface HeldDevice {
  readonly path: string;
  readonly handle: FileHandle;
}

/**
 * Attaches `file`, or takes the device that has it: a second device in front of one file would give two file systems
 * over the same blocks.
 */
export async function attachLoopDevice(file: string): Promise<HeldDevice> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const present = await loopDeviceOf(file);
    const path = present?.path ?? (await losetup("--find", "--show", "--nooverlap", file)).trim();
    if (!/^\/dev\/loop\d+$/.test(path))
      throw new Error(`losetup answered ${JSON.stringify(path.slice(0, 200))}`);
    const handle = await open(path, "r");
    if ((await loopDeviceOf(file))?.path === path) return { path, handle };
    await handle.close();
  }
  throw new Error(`loop device of ${file} changes hands; another program is using it`);
}

/** Frees the device: now, or by the kernel itself at the last unmount. */
export async function releaseLoopDevice(path: string): Promise<void> {
  await losetup("--detach", path).catch((error: unknown) => {
    if (String(error).includes("No such device")) return;
    throw error;
  });
}

async function losetup(...args: string[]): Promise<string> {
  const { stdout } = await run("losetup", args, { timeout: COMMAND_DEADLINE_MS });
  return stdout;
}

async function readLine(path: string): Promise<string | null> {
  try {
    return (await readFile(path, "utf8")).trimEnd();
  } catch {
    return null;
  }
}
