/**
 * Session volumes. The data is an ext4 image of fixed size in the data directory; a Docker volume of the `local` driver
 * is the handle through which a container mounts it. The image lasts, everything else is made again when it is missing:
 *
 *   volumes/images/{volume}.ext4   the data
 *   volumes/devices/{digest}       symlink to the loop device, only while a container starts
 *   volumes/last-use/{volume}      its mtime is the session's last use
 *
 * Without loop devices a plain Docker volume is used: no size limit, otherwise the same.
 */
import { execFile } from "node:child_process";
import {
  access,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
} from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Engine, EngineVolume } from "../engine/engine.ts";
import { encodeSession, LABEL, newId, shortDigest, volumeName } from "../engine/labels.ts";
import { SANDBOX_UID } from "../spec/create-body.ts";
import {
  attachLoopDevice,
  type HeldDevice,
  listLoopDevices,
  loopDeviceOf,
  loopDevicesPresent,
  releaseLoopDevice,
} from "./loop-devices.ts";

const run = promisify(execFile);
const COMMAND_DEADLINE_MS = 60_000;
const IMAGE_SUFFIX = ".ext4";
/** The kernel frees a device when the container's last process has gone; it follows the removal closely. */
const FREED_WITHIN_MS = 5_000;
const MOUNT_OPTIONS = "nosuid,nodev,noatime,discard";

export type QuotaMode = "loop" | "none";

export interface VolumesOptions {
  readonly directory: string;
  readonly instance: string;
  readonly sizeBytes: number;
  readonly engine: Engine;
  readonly now: () => number;
}

/** A session's volume, ready for one container to start with it. */
export interface VolumeLease {
  readonly volume: string;
  readonly copyOwner: boolean;
  /** After the container has mounted it, or failed to: leaves the device to the kernel. */
  release(): Promise<void>;
}

/** The volume cannot be used; the message says what to do. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
}

export class Volumes {
  readonly #options: VolumesOptions;
  readonly #images: string;
  readonly #devices: string;
  readonly #lastUse: string;
  /** Volumes between `acquire` and `release`. */
  readonly #starting = new Set<string>();
  #mode: QuotaMode = "none";
  #template = "";

  constructor(options: VolumesOptions) {
    this.#options = options;
    this.#images = join(options.directory, "images");
    this.#devices = join(options.directory, "devices");
    this.#lastUse = join(options.directory, "last-use");
  }

  get mode(): QuotaMode {
    return this.#mode;
  }

  /** Prepares directories and the template image; returns why the quota is off, or null. */
  async prepare(): Promise<string | null> {
    for (const path of [this.#options.directory, this.#images, this.#devices, this.#lastUse]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
    await this.#removeTemporaries();
    if (!loopDevicesPresent()) return "this host has no loop devices (/dev/loop-control)";
    try {
      this.#template = await this.#makeTemplate();
      await this.#tryLoopDevice();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    this.#mode = "loop";
    return null;
  }

  async acquire(session: SessionKey): Promise<VolumeLease> {
    const volume = volumeName(session);
    if (this.#starting.has(volume)) throw new VolumeError(`volume ${volume} is being started already`);
    this.#starting.add(volume);
    try {
      await this.touch(session);
      return this.#mode === "loop"
        ? await this.#acquireImage(session, volume)
        : await this.#acquirePlain(session, volume);
    } catch (error) {
      this.#starting.delete(volume);
      throw error;
    }
  }

  /** Resolves once nothing mounts the session's image any more; false when that takes too long. */
  async freed(session: SessionKey): Promise<boolean> {
    if (this.#mode !== "loop") return true;
    const image = this.#imageOf(volumeName(session));
    const deadline = this.#options.now() + FREED_WITHIN_MS;
    while ((await loopDeviceOf(image)) !== null) {
      if (this.#options.now() > deadline) return false;
      await delay(5);
    }
    return true;
  }

  /** Notes that the session was in use just now. */
  async touch(session: SessionKey): Promise<void> {
    const handle = await open(join(this.#lastUse, volumeName(session)), "a", 0o600);
    try {
      const seconds = this.#options.now() / 1000;
      await handle.utimes(seconds, seconds);
    } finally {
      await handle.close();
    }
  }

  /** Every volume that has data, with the time of its last use. */
  async list(): Promise<Map<string, number>> {
    const known = new Map<string, number>();
    const label = `${LABEL.instance}=${this.#options.instance}`;
    const names = (await this.#options.engine.listVolumes(label))
      .filter((volume) => volume.labels[LABEL.kind] === "session-volume")
      .map((volume) => volume.name);
    const images = (await readdir(this.#images))
      .filter((file) => file.endsWith(IMAGE_SUFFIX))
      .map((file) => file.slice(0, -IMAGE_SUFFIX.length));
    for (const name of new Set([...names, ...images])) known.set(name, await this.#usedAt(name));
    return known;
  }

  /** Removes a volume with its data. */
  async remove(volume: string): Promise<void> {
    await this.#options.engine.removeVolume(volume);
    await rm(this.#imageOf(volume), { force: true });
    await rm(join(this.#lastUse, volume), { force: true });
  }

  /** Devices in front of our images that nobody has told the kernel to free; none that is being started with. */
  async strayDevices(): Promise<string[]> {
    const starting = new Set([...this.#starting].map((volume) => this.#imageOf(volume)));
    return (await listLoopDevices())
      .filter((device) => device.backingFile.startsWith(`${this.#images}/`))
      .filter((device) => !device.autoclear && !starting.has(device.backingFile))
      .map((device) => device.path);
  }

  async releaseDevice(path: string): Promise<void> {
    await releaseLoopDevice(path);
  }

  async #acquireImage(session: SessionKey, volume: string): Promise<VolumeLease> {
    const image = this.#imageOf(volume);
    const link = this.#linkOf(volume);
    await this.#ensureImage(image);
    let device: HeldDevice | null = null;
    try {
      device = await attachLoopDevice(image);
      await replaceLink(link, device.path);
      await this.#ensureVolume(session, volume, { type: "ext4", device: link, o: MOUNT_OPTIONS });
    } catch (error) {
      await this.#letGo(link, device);
      throw error;
    }
    const held = device;
    return {
      volume,
      copyOwner: false,
      release: async () => {
        try {
          await this.#letGo(link, held);
        } finally {
          this.#starting.delete(volume);
        }
      },
    };
  }

  async #acquirePlain(session: SessionKey, volume: string): Promise<VolumeLease> {
    await this.#ensureVolume(session, volume, {});
    const release = async () => {
      this.#starting.delete(volume);
    };
    return { volume, copyOwner: true, release };
  }

  async #letGo(link: string, device: HeldDevice | null): Promise<void> {
    // A link that stayed behind would show another session's blocks once the number is used again.
    await rm(link, { force: true });
    if (device === null) return;
    await releaseLoopDevice(device.path);
    await device.handle.close();
  }

  async #ensureVolume(session: SessionKey, volume: string, options: Record<string, string>): Promise<void> {
    const { engine, instance } = this.#options;
    const present = await engine.volume(volume);
    if (present !== null) {
      if (present.labels[LABEL.instance] !== instance) {
        throw new VolumeError(
          `Docker volume ${volume} belongs to ${present.labels[LABEL.instance] ?? "somebody else"}, not to this data directory; remove it (docker volume rm ${volume}) or use another session`,
        );
      }
      if (sameOptions(present, options)) return;
      if (present.options.device === undefined) {
        throw new VolumeError(
          `Docker volume ${volume} was made without a size limit and has one now (or the reverse); move its files away and remove it (docker volume rm ${volume})`,
        );
      }
      // Only the handle: the image with the data stays.
      await engine.removeVolume(volume);
    }
    const labels = {
      [LABEL.instance]: instance,
      [LABEL.kind]: "session-volume",
      [LABEL.session]: encodeSession(session),
      [LABEL.created]: new Date(this.#options.now()).toISOString(),
    };
    await engine.createVolume(volume, labels, options);
  }

  async #ensureImage(image: string): Promise<void> {
    if (await exists(image)) return;
    const temporary = `${image}.${newId()}.tmp`;
    await command("cp", ["--sparse=always", "--reflink=auto", this.#template, temporary]);
    await rename(temporary, image);
  }

  async #makeTemplate(): Promise<string> {
    const { directory, sizeBytes } = this.#options;
    const template = join(directory, `template-${sizeBytes}${IMAGE_SUFFIX}`);
    if (await exists(template)) return template;
    const temporary = `${template}.${newId()}.tmp`;
    const handle = await open(temporary, "wx", 0o600);
    await handle.close();
    await truncate(temporary, sizeBytes);
    const owner = `root_owner=${SANDBOX_UID}:${SANDBOX_UID},nodiscard,lazy_itable_init=0`;
    await command("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", owner, temporary]);
    await command("debugfs", ["-w", "-R", "rmdir lost+found", temporary]);
    await rename(temporary, template);
    return template;
  }

  /** A host can have the control device and still refuse: better known now than at the first session. */
  async #tryLoopDevice(): Promise<void> {
    const device = await attachLoopDevice(this.#template);
    await releaseLoopDevice(device.path);
    await device.handle.close();
  }

  async #removeTemporaries(): Promise<void> {
    for (const directory of [this.#options.directory, this.#images]) {
      for (const file of await readdir(directory)) {
        if (file.endsWith(".tmp")) await rm(join(directory, file), { force: true });
      }
    }
    for (const link of await readdir(this.#devices)) await rm(join(this.#devices, link), { force: true });
  }

  async #usedAt(volume: string): Promise<number> {
    for (const path of [join(this.#lastUse, volume), this.#imageOf(volume)]) {
      const found = await stat(path).catch(() => null);
      if (found !== null) return found.mtimeMs;
    }
    // Unknown: its time begins now.
    await (await open(join(this.#lastUse, volume), "a", 0o600)).close();
    return this.#options.now();
  }

  #imageOf(volume: string): string {
    return join(this.#images, volume + IMAGE_SUFFIX);
  }

  #linkOf(volume: string): string {
    return join(this.#devices, shortDigest(volume));
  }
}

function sameOptions(volume: EngineVolume, options: Record<string, string>): boolean {
  const keys = new Set([...Object.keys(volume.options), ...Object.keys(options)]);
  return [...keys].every((key) => volume.options[key] === options[key]);
}

async function replaceLink(link: string, target: string): Promise<void> {
  if ((await readlink(link).catch(() => null)) === target) return;
  const temporary = `${link}.${newId()}.tmp`;
  await symlink(target, temporary);
  await rename(temporary, link);
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
