/**
 * Session volumes. The data is an ext4 image of fixed size in the data directory; a Docker volume of the `local` driver
 * is the handle through which a container mounts it. The image lasts, everything else is made again when it is missing:
 *
 *   volumes/images/{volume}.ext4   the data
 *   volumes/devices/{digest}       symlink to the loop device, only while a container starts
 *   volumes/last-use/{volume}      its mtime is the session's last use, its content whose the session is (two digests)
 *   volumes/quota-mode             `loop`, or `none` where this host has no loop devices
 *
 * Without loop devices a plain Docker volume is used: no size limit, otherwise the same.
 */
import {
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { DiskReserve } from "../../common/disk-space.ts";
import {
  MOST_OWNED,
  type Owned,
  type OwnedQuery,
  type SessionKey,
} from "../../common/protocol/launcher-api.ts";
import type { Engine } from "../engine/engine.ts";
import { newId, sessionOf, shortDigest, volumeName } from "../engine/labels.ts";
import { LauncherFailure, messageOf } from "../errors.ts";
import { Handles, VolumeError } from "./handles.ts";
import { Images } from "./images.ts";
import {
  attachLoopDevice,
  fileSystemErrors,
  type HeldDevice,
  type LoopDevice,
  listLoopDevices,
  loopDeviceOf,
  loopDevicesPresent,
  releaseLoopDevice,
} from "./loop-devices.ts";
import { isForGood, type QuotaMode, readQuotaMode, writeQuotaMode } from "./quota-mode.ts";

/** The kernel frees a device when the container's last process has gone; it follows the removal closely. */
const FREED_WITHIN_MS = 5_000;
/** A file system that meets an error stops writing: what is acknowledged afterwards would not be there. */
const MOUNT_OPTIONS = "nosuid,nodev,noatime,discard,errors=remount-ro";
const PROVE_AGAIN_MS = 5_000;
/** They are many: counting them asks the disk for each. */
const TAKEN_FOR_MS = 60_000;

export interface VolumesOptions {
  readonly directory: string;
  readonly instance: string;
  readonly sizeBytes: number;
  readonly engine: Engine;
  /** What the disk keeps free of images, also when every mounted one is filled. */
  readonly reserve: DiskReserve;
  readonly now: () => number;
}

/** A session's volume, ready for one container to start with it. */
export interface VolumeLease {
  /** The engine's, to be mounted. */
  readonly volume: string;
  readonly copyOwner: boolean;
  /** After the container has mounted it, or failed to: leaves the device to the kernel. */
  release(): Promise<void>;
}

/** Digests of whom a session belongs to; null: nobody said. */
export interface VolumeOwner {
  readonly owner: string | null;
  readonly tenant: string | null;
}

const NOBODY: VolumeOwner = { owner: null, tenant: null };

class NoLoopDevices extends Error {
  override readonly name = "NoLoopDevices";

  constructor() {
    super("this host has no loop devices (/dev/loop-control)");
  }
}

export class Volumes {
  readonly #options: VolumesOptions;
  readonly #images: Images;
  readonly #handles: Handles;
  readonly #devices: string;
  readonly #lastUse: string;
  /** Volumes between `acquire` and `release`. */
  readonly #starting = new Set<string>();
  readonly #removing = new Map<string, Promise<void>>();
  #mode: QuotaMode = "none";
  /** Why images cannot be used at present; null when they can, or are not. */
  #problem: string | null = null;
  #promised = false;
  #proving: Promise<void> | null = null;
  #provedAt = Number.NEGATIVE_INFINITY;
  #taken: { readonly at: number; readonly of: ReturnType<Images["taken"]> } | null = null;

  constructor(options: VolumesOptions) {
    this.#options = options;
    this.#images = new Images(options.directory, options.sizeBytes);
    this.#handles = new Handles(options);
    this.#devices = join(options.directory, "devices");
    this.#lastUse = join(options.directory, "last-use");
  }

  get mode(): QuotaMode {
    return this.#mode;
  }

  /** Why sessions cannot have their volumes at present; null when they can. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The last session that asked for its volume found the disk's free space promised to others. */
  get promised(): boolean {
    return this.#promised;
  }

  /** Null when the disk does not say. */
  async disk(): Promise<{ readonly total: number; readonly free: number; readonly reserve: number } | null> {
    const space = await this.#options.reserve.space().catch(() => null);
    if (space === null) return null;
    return { total: space.totalBytes, free: space.freeBytes, reserve: space.reserveBytes };
  }

  /** Loop devices in front of our images; null when the host does not say, or there are none to have. */
  async loopDevices(): Promise<number | null> {
    if (this.#mode !== "loop") return null;
    const devices = await listLoopDevices().catch(() => null);
    return devices === null ? null : devices.filter((device) => this.#isOurs(device)).length;
  }

  /** Images and what they take of the disk, as of a minute ago at most; null without images. */
  async taken(): Promise<{ readonly count: number; readonly bytes: number } | null> {
    if (this.#mode !== "loop") return null;
    const now = performance.now();
    if (this.#taken === null || now - this.#taken.at > TAKEN_FOR_MS) {
      this.#taken = { at: now, of: this.#images.taken() };
    }
    return this.#taken.of.catch(() => null);
  }

  /** Prepares directories and the template image; returns why the quota is off, or does not work at present, or null. */
  async prepare(): Promise<string | null> {
    const { directory } = this.#options;
    for (const path of [directory, this.#images.directory, this.#devices, this.#lastUse]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
    await this.#images.removeTemporaries();
    for (const link of await readdir(this.#devices)) await rm(join(this.#devices, link), { force: true });
    const written = await readQuotaMode(directory);
    if (written === "none") return "this data directory was set up without (volumes/quota-mode)";
    const decided = written === "loop" || (await this.#images.volumes()).length > 0;
    this.#mode = "loop";
    try {
      if (!loopDevicesPresent()) throw new NoLoopDevices();
      await this.#images.prove();
    } catch (error) {
      const forGood = error instanceof NoLoopDevices || isForGood(error);
      if (decided || !forGood) {
        this.#problem = messageOf(error);
      } else {
        this.#mode = "none";
        await writeQuotaMode(directory, "none");
      }
      return messageOf(error);
    }
    if (written === null) await writeQuotaMode(directory, "loop");
    return null;
  }

  async acquire(session: SessionKey, whose: VolumeOwner = NOBODY): Promise<VolumeLease> {
    const volume = volumeName(session);
    // One that is past its time and wanted again: either it is removed and made anew, or it is not removed. Not a moment
    // between having looked and having it: a removal could begin in it.
    for (;;) {
      const removal = this.#removing.get(volume);
      if (removal === undefined) break;
      await removal;
    }
    if (this.#starting.has(volume)) throw new VolumeError(`volume ${volume} is being started already`);
    this.#starting.add(volume);
    try {
      await this.#mustWork();
      await this.#note(volume, whose);
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
    const image = this.#images.pathOf(volumeName(session));
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

  /** Sessions with data, at most `MOST_OWNED`. */
  async owned(query: OwnedQuery): Promise<Owned> {
    const sessions: SessionKey[] = [];
    let unknown = 0;
    for (const volume of (await this.list()).keys()) {
      const session = sessionOf(volume);
      if (session === null) continue;
      const { owner, tenant } = await this.#whose(volume);
      if (session.kind === "runtime" && owner === null) unknown += 1;
      const named = query.of === "tenant" && session.kind === "named" && session.tenant === query.name;
      const match = query.of === "owner" ? owner === query.owner : tenant === query.tenant || named;
      if (match && sessions.length < MOST_OWNED) sessions.push(session);
    }
    return { sessions, unknown };
  }

  /** Whose it is lasts, also where the engine forgets the volume and its labels. */
  async #note(volume: string, { owner, tenant }: VolumeOwner): Promise<void> {
    if (owner === null) return;
    await writeFile(join(this.#lastUse, volume), `${owner} ${tenant ?? "-"}\n`, { mode: 0o600 });
  }

  async #whose(volume: string): Promise<VolumeOwner> {
    const text = await readFile(join(this.#lastUse, volume), "utf8").catch(() => "");
    const [, owner = null, tenant = null] = /^([A-Za-z0-9-]{21}) ([A-Za-z0-9-]{21}|-)\n$/.exec(text) ?? [];
    return { owner, tenant };
  }

  /** Every volume that has data, with the time of its last use. */
  async list(): Promise<Map<string, number>> {
    const known = new Map<string, number>();
    const [handles, images] = [await this.#handles.list(), await this.#images.volumes()];
    for (const name of new Set([...handles, ...images])) known.set(name, await this.#usedAt(name));
    return known;
  }

  /** Removes a volume with its data, unless somebody has used it since `before` or does now. */
  async remove(volume: string, before: number): Promise<boolean> {
    if (this.#starting.has(volume) || this.#removing.has(volume)) return false;
    const removal = this.#remove(volume, before).finally(() => this.#removing.delete(volume));
    // Whoever waits for it only wants it to be over.
    this.#removing.set(
      volume,
      removal.then(
        () => {},
        () => {},
      ),
    );
    return removal;
  }

  async #remove(volume: string, before: number): Promise<boolean> {
    const image = this.#images.pathOf(volume);
    if ((await this.#usedAt(volume)) >= before || (await loopDeviceOf(image)) !== null) return false;
    await this.#handles.remove(volume);
    await rm(image, { force: true });
    await rm(join(this.#lastUse, volume), { force: true });
    return true;
  }

  /** Removes a session's data, which no sandbox has. False: there was none. Throws when it is still in use. */
  async forget(session: SessionKey): Promise<boolean> {
    const volume = volumeName(session);
    if (!(await this.#isThere(volume))) return false;
    await this.remove(volume, Number.POSITIVE_INFINITY);
    if (await this.#isThere(volume)) throw new VolumeError(`Docker volume ${volume} is still in use`);
    return true;
  }

  async #isThere(volume: string): Promise<boolean> {
    return (await this.#handles.has(volume)) || this.#images.has(this.#images.pathOf(volume));
  }

  /**
   * Volumes whose file system has failed under a sandbox: mostly that the disk had no room for a write into their image,
   * since somebody else has filled it. gVisor tells the program nothing of an `fsync` that fails (`syncRemoteFileLocked` in
   * its gofer.go), so that what was written last may be missing.
   */
  async failed(): Promise<ReadonlySet<string>> {
    if (this.#mode !== "loop") return new Set();
    const devices = (await listLoopDevices()).filter((device) => this.#isOurs(device));
    const failed = await Promise.all(
      devices.map(async ({ backingFile, path }) =>
        (await fileSystemErrors(path)) > 0 ? [this.#images.volumeOf(backingFile)] : [],
      ),
    );
    return new Set(failed.flat());
  }

  /** Devices in front of our images that nobody has told the kernel to free; none that is being started with. */
  async strayDevices(): Promise<string[]> {
    const starting = new Set([...this.#starting].map((volume) => this.#images.pathOf(volume)));
    return (await listLoopDevices())
      .filter((device) => this.#isOurs(device))
      .filter((device) => !device.autoclear && !starting.has(device.backingFile))
      .map((device) => device.path);
  }

  async releaseDevice(path: string): Promise<void> {
    await releaseLoopDevice(path);
  }

  /** What did not work at the start may work now: asked again, every few seconds at most. */
  async #mustWork(): Promise<void> {
    if (this.#problem === null) return;
    if (performance.now() - this.#provedAt > PROVE_AGAIN_MS) {
      await this.#prove();
      this.#provedAt = performance.now();
    }
    if (this.#problem !== null) throw new VolumeError(`session volumes do not work: ${this.#problem}`);
  }

  async #prove(): Promise<void> {
    this.#proving ??= this.#images
      .prove()
      .then(
        () => {
          this.#problem = null;
        },
        (error: unknown) => {
          this.#problem = messageOf(error);
        },
      )
      .finally(() => {
        this.#proving = null;
      });
    await this.#proving;
  }

  /** Where it fails, whether that is this image's trouble or the host's, which had devices at its start and has none now. */
  async #attached(image: string): Promise<HeldDevice> {
    try {
      return await attachLoopDevice(image);
    } catch (error) {
      await this.#prove();
      throw error;
    }
  }

  /**
   * Throws when this image and all that are mounted could fill the disk: an image is sparse, and a write that the disk
   * cannot take is lost after it was acknowledged.
   */
  async #mustFit(image: string): Promise<void> {
    const mounted = (await listLoopDevices())
      .filter((device) => this.#isOurs(device))
      .map((device) => device.backingFile);
    const starting = [...this.#starting].map((volume) => this.#images.pathOf(volume));
    const others = new Set([...mounted, ...starting]);
    others.delete(image);
    let promised = 0;
    for (const other of others) promised += await this.#images.growth(other);
    const own = await this.#images.growth(image);
    const alone = await this.#options.reserve.problemWith(own);
    if (alone !== null) {
      throw new LauncherFailure("storage_full", `A session's volume may take ${own} bytes more: ${alone}`);
    }
    this.#promised = (await this.#options.reserve.problemWith(own + promised)) !== null;
    if (this.#promised) {
      throw new LauncherFailure("host_full", "the disk's space is promised to the volumes of other sessions");
    }
  }

  #isOurs(device: LoopDevice): boolean {
    return device.backingFile.startsWith(`${this.#images.directory}/`);
  }

  async #acquireImage(session: SessionKey, volume: string): Promise<VolumeLease> {
    const image = this.#images.pathOf(volume);
    const link = this.#linkOf(volume);
    await this.#mustFit(image);
    await this.#images.ensure(image);
    if ((await loopDeviceOf(image)) === null) await this.#checked(volume, image);
    let device: HeldDevice | null = null;
    let mounted: string;
    try {
      device = await this.#attached(image);
      await replaceLink(link, device.path);
      mounted = await this.#handles.ensure(session, { type: "ext4", device: link, o: MOUNT_OPTIONS });
    } catch (error) {
      await this.#letGo(link, device);
      throw error;
    }
    const held = device;
    return {
      volume: mounted,
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
    const mounted = await this.#handles.ensure(session, {});
    const release = async () => {
      this.#starting.delete(volume);
    };
    return { volume: mounted, copyOwner: true, release };
  }

  async #letGo(link: string, device: HeldDevice | null): Promise<void> {
    // A link that stayed behind would show another session's blocks once the number is used again.
    await rm(link, { force: true });
    if (device === null) return;
    await releaseLoopDevice(device.path);
    await device.handle.close();
  }

  async #checked(volume: string, image: string): Promise<void> {
    try {
      await this.#images.check(image);
    } catch (error) {
      throw new VolumeError(`volume ${volume} cannot be used: ${messageOf(error)}`, { cause: error });
    }
  }

  async #usedAt(volume: string): Promise<number> {
    for (const path of [join(this.#lastUse, volume), this.#images.pathOf(volume)]) {
      const found = await stat(path).catch(() => null);
      if (found !== null) return found.mtimeMs;
    }
    // Unknown: its time begins now.
    await (await open(join(this.#lastUse, volume), "a", 0o600)).close();
    return this.#options.now();
  }

  #linkOf(volume: string): string {
    return join(this.#devices, shortDigest(volume));
  }
}

async function replaceLink(link: string, target: string): Promise<void> {
  if ((await readlink(link).catch(() => null)) === target) return;
  const temporary = `${link}.${newId()}.tmp`;
  await symlink(target, temporary);
  await rename(temporary, link);
}
