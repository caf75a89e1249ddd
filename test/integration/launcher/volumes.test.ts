/**
 * Session volumes on real loop devices and file systems. The engine is the test's own: it keeps handles as Docker does,
 * and the test mounts what Docker would. Needs root.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiskReserve } from "../../../gateway/common/disk-space.ts";
import type { SessionKey } from "../../../gateway/common/protocol/launcher-api.ts";
import type { Engine, EngineVolume } from "../../../gateway/launcher/engine/engine.ts";
import { volumeName } from "../../../gateway/launcher/engine/labels.ts";
import { Volumes } from "../../../gateway/launcher/volumes/volumes.ts";
import { strictEngine } from "../../unit/launcher/engine-side.ts";

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;

let directory: string;
let handles: Map<string, EngineVolume>;
let mounts: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-volumes-"));
  handles = new Map();
  mounts = [];
});
afterEach(() => {
  for (const mount of mounts.reverse()) execFileSync("umount", [mount]);
  rmSync(directory, { recursive: true });
});

function open(
  change: { reserve?: number; at?: string; engine?: Partial<Engine>; instance?: string } = {},
): Volumes {
  const { at = join(directory, "volumes"), instance = "i", reserve = 0 } = change;
  const engine = strictEngine({
    volume: async (name) => handles.get(name) ?? null,
    // One that is there already is what Docker answers with, as it is.
    createVolume: async (name, labels, options) => {
      if (!handles.has(name)) handles.set(name, { name, labels, options, mountpoint: "" });
    },
    listVolumes: async (label) =>
      [...handles.values()].filter(
        ({ labels }) => `kernelyard.instance=${labels["kernelyard.instance"]}` === label,
      ),
    removeVolume: async (name) => void handles.delete(name),
    ...change.engine,
  });
  mkdirSync(at, { recursive: true });
  return new Volumes({
    directory: at,
    instance,
    sizeBytes: SIZE,
    engine,
    reserve: new DiskReserve(at, reserve),
    now: Date.now,
  });
}

const session = (name: string): SessionKey => ({ kind: "named", tenant: "default", name });
const imageOf = (name: string) => join(directory, "volumes", "images", `${volumeName(session(name))}.ext4`);

/** A disk of the test's own: others write on the machine's. */
function ownDisk(size: string): string {
  const disk = join(directory, "disk");
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", disk]);
  mounts.push(disk);
  return disk;
}

/** As Docker mounts it for a container that starts, by the handle's own options. */
async function mountAs(volumes: Volumes, name: string): Promise<string> {
  const lease = await volumes.acquire(session(name));
  const options = handles.get(lease.volume)?.options ?? {};
  const target = mkdtempSync(join(directory, "mount-"));
  execFileSync("mount", ["-t", options.type ?? "", "-o", options.o ?? "", options.device ?? "", target]);
  mounts.push(target);
  await lease.release();
  return target;
}

function unmount(target: string): void {
  execFileSync("umount", [target]);
  mounts.splice(mounts.indexOf(target), 1);
}

const superblock = (image: string) =>
  execFileSync("dumpe2fs", ["-h", image], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

/** The image as a host leaves it that loses its power now. */
function powerLoss(volumes: Volumes, name: string, target: string): void {
  execFileSync("sync", ["-f", target]);
  const kept = join(directory, "kept");
  execFileSync("cp", ["--sparse=always", imageOf(name), kept]);
  unmount(target);
  expect(volumes.mode).toBe("loop");
  execFileSync("mv", [kept, imageOf(name)]);
}

describe("an image that was not cleanly unmounted", () => {
  it("is repaired before it is mounted again, and what was synced is there", async () => {
    const volumes = open();
    await volumes.prepare();
    const target = await mountAs(volumes, "s");
    writeFileSync(join(target, "a.txt"), "kept");
    powerLoss(volumes, "s", target);
    expect(superblock(imageOf("s"))).toContain("needs_recovery");
    const lease = await volumes.acquire(session("s"));
    expect(superblock(imageOf("s"))).not.toContain("needs_recovery");
    await lease.release();
    const again = await mountAs(volumes, "s");
    expect(readFileSync(join(again, "a.txt"), "utf8")).toBe("kept");
  });

  it("is refused when only a person can repair it, and left as it is", async () => {
    const volumes = open();
    await volumes.prepare();
    const target = await mountAs(volumes, "s");
    mkdirSync(join(target, "d"));
    powerLoss(volumes, "s", target);
    // Block and inode bitmaps, and the tables of inodes.
    execFileSync("dd", [
      "if=/dev/urandom",
      `of=${imageOf("s")}`,
      "bs=1024",
      "seek=3",
      "count=600",
      "conv=notrunc",
      "status=none",
    ]);
    await expect(volumes.acquire(session("s"))).rejects.toThrow("e2fsck -f");
    expect(existsSync(imageOf("s"))).toBe(true);
    // Others are served.
    await (await volumes.acquire(session("t"))).release();
  });

  it("is mounted so that an error stops it from taking more", async () => {
    const volumes = open();
    await volumes.prepare();
    const target = await mountAs(volumes, "s");
    expect(execFileSync("findmnt", ["-no", "OPTIONS", target], { encoding: "utf8" })).toContain(
      "errors=remount-ro",
    );
  });
});

describe("the disk's space", () => {
  it("is kept for the reserve: no volume begins that could take it", async () => {
    const at = join(ownDisk("40m"), "volumes");
    await open({ at }).prepare();
    const { bavail, bsize } = statfsSync(at);
    const volumes = open({ at, reserve: bavail * bsize - SIZE / 2 });
    await volumes.prepare();
    await expect(volumes.acquire(session("s"))).rejects.toMatchObject({
      code: "storage_full",
      message: expect.stringContaining("KERNELYARD_DISK_RESERVE"),
    });
    expect(existsSync(join(at, "images", `${volumeName(session("s"))}.ext4`))).toBe(false);
  });

  it("is promised once: what mounted volumes may take is not there for another", async () => {
    const volumes = open({ at: join(ownDisk("40m"), "volumes") });
    await volumes.prepare();
    const both = [await mountAs(volumes, "a"), await mountAs(volumes, "b")];
    expect(volumes.promised).toBe(false);
    await expect(volumes.acquire(session("c"))).rejects.toMatchObject({ code: "host_full" });
    expect(volumes.promised).toBe(true);
    // Both can be filled, at the same time, and are what was written.
    const bytes = Buffer.alloc(MIB, "x");
    const numbers = Array.from({ length: 11 }, (_, n) => String(n));
    for (const n of numbers) for (const target of both) writeFileSync(join(target, n), bytes);
    for (const target of both) unmount(target);
    for (const name of ["a", "b"]) {
      const target = await mountAs(volumes, name);
      for (const n of numbers) expect(readFileSync(join(target, n)).equals(bytes)).toBe(true);
      unmount(target);
    }
    await (await volumes.acquire(session("a"))).release();
    expect(volumes.promised).toBe(false);
  });
});

describe("the quota", () => {
  it("is decided once: on a full disk sessions are refused, and served when there is space again", async () => {
    const disk = ownDisk("64k");
    const volumes = open({ at: join(disk, "volumes") });
    expect(await volumes.prepare()).not.toBeNull();
    expect([volumes.mode, volumes.problem === null]).toEqual(["loop", false]);
    await expect(volumes.acquire(session("s"))).rejects.toThrow("session volumes do not work");
    expect([...handles.keys()]).toEqual([]);
    execFileSync("mount", ["-o", "remount,size=64m", disk]);
    const again = open({ at: join(disk, "volumes") });
    expect(await again.prepare()).toBeNull();
    await (await again.acquire(session("s"))).release();
    expect(readFileSync(join(disk, "volumes", "quota-mode"), "utf8")).toBe("loop\n");
  });

  it("that did not work at the start is tried again with the next session", async () => {
    const volumes = open();
    const inTheWay = join(directory, "volumes", `template-${SIZE}.ext4`);
    mkdirSync(inTheWay);
    expect(await volumes.prepare()).not.toBeNull();
    rmSync(inTheWay, { recursive: true });
    await (await volumes.acquire(session("s"))).release();
    expect(volumes.problem).toBeNull();
  });

  it("that stops working later is said, and tried again with the next session", async () => {
    const volumes = open();
    expect(await volumes.prepare()).toBeNull();
    // In front of the real one: the machine's devices are others' as well.
    const before = process.env.PATH;
    writeFileSync(
      join(directory, "losetup"),
      "#!/bin/sh\necho 'losetup: cannot find an unused loop device: No such device' >&2\nexit 1\n",
      { mode: 0o755 },
    );
    process.env.PATH = `${directory}:${before}`;
    try {
      await expect(volumes.acquire(session("a"))).rejects.toThrow("unused loop device");
      expect(volumes.problem).toContain("unused loop device");
    } finally {
      process.env.PATH = before;
    }
    const lease = await volumes.acquire(session("a"));
    expect(volumes.problem).toBeNull();
    await lease.release();
    // One session's own trouble is none of the others'.
    writeFileSync(imageOf("b"), "no file system");
    await expect(volumes.acquire(session("b"))).rejects.toThrow();
    expect(volumes.problem).toBeNull();
  });

  it("never stands for a volume without one, nor the reverse", async () => {
    const volumes = open();
    await volumes.prepare();
    await (await volumes.acquire(session("s"))).release();
    writeFileSync(join(directory, "volumes", "quota-mode"), "none\n");
    const without = open();
    expect(await without.prepare()).toContain("quota-mode");
    await expect(without.acquire(session("s"))).rejects.toThrow("size limit");
    expect(handles.get(volumeName(session("s")))?.options.device).toBeDefined();
    writeFileSync(join(directory, "volumes", "quota-mode"), "perhaps\n");
    await expect(open().prepare()).rejects.toThrow("must say loop or none");
  });
});

describe("two data directories on one engine", () => {
  const two = async () => {
    const there = join(directory, "other");
    const [one, other] = [open(), open({ at: there, instance: "j" })];
    await one.prepare();
    await other.prepare();
    return { one, other, imageThere: join(there, "images", `${volumeName(session("s"))}.ext4`) };
  };
  const handle = async (volumes: Volumes) => {
    const lease = await volumes.acquire(session("s"));
    await lease.release();
    return lease.volume;
  };

  it("have the same session each, with a disk of its own", async () => {
    const { one, other } = await two();
    const names = [await handle(one), await handle(other)];
    expect(names).toEqual(["librechat_vol_s", "librechat_vol_.j.s"]);
    expect([await handle(one), await handle(other)]).toEqual(names);
    const devices = names.map((name) => handles.get(name)?.options.device ?? "");
    expect(devices.map((device) => device.startsWith(join(directory, "other")))).toEqual([false, true]);
    expect([...(await one.list()).keys()]).toEqual(["librechat_vol_s"]);
    expect([...(await other.list()).keys()]).toEqual(["librechat_vol_s"]);
  });

  it("remove each its own alone", async () => {
    const { one, other, imageThere } = await two();
    await handle(one);
    await handle(other);
    expect(await other.forget(session("s"))).toBe(true);
    expect([[...handles.keys()], existsSync(imageOf("s")), existsSync(imageThere)]).toEqual([
      ["librechat_vol_s"],
      true,
      false,
    ]);
    expect(await other.forget(session("s"))).toBe(false);
    await handle(other);
    expect(await one.remove(volumeName(session("s")), Number.POSITIVE_INFINITY)).toBe(true);
    expect([[...handles.keys()], existsSync(imageThere)]).toEqual([["librechat_vol_.j.s"], true]);
    // It stays what it is, whoever has the first name.
    expect(await handle(other)).toBe("librechat_vol_.j.s");
  });

  it("do not take each other's volume when both make it at once", async () => {
    const { one } = await two();
    const late = open({
      at: join(directory, "other"),
      instance: "j",
      engine: {
        volume: async (name) => {
          const there = handles.get(name) ?? null;
          // After it looked, before it makes its own.
          if (name === "librechat_vol_s" && there === null) await handle(one);
          return there;
        },
      },
    });
    await late.prepare();
    expect(await handle(late)).toBe("librechat_vol_.j.s");
  });
});

describe("a volume past its time", () => {
  const DAY = 86_400_000;
  const old = async (volumes: Volumes) => {
    await volumes.prepare();
    await (await volumes.acquire(session("s"))).release();
    const then = (Date.now() - 40 * DAY) / 1000;
    utimesSync(join(directory, "volumes", "last-use", volumeName(session("s"))), then, then);
  };
  const remove = (volumes: Volumes) => volumes.remove(volumeName(session("s")), Date.now() - 30 * DAY);

  it("is removed with its data", async () => {
    const volumes = open();
    await old(volumes);
    await remove(volumes);
    expect([existsSync(imageOf("s")), handles.size]).toEqual([false, 0]);
  });

  it("that is wanted again while it is removed begins anew, when it is gone", async () => {
    const gone = Promise.withResolvers<void>();
    const removing = Promise.withResolvers<void>();
    const volumes = open({
      engine: {
        removeVolume: async (name) => {
          removing.resolve();
          await gone.promise;
          handles.delete(name);
        },
      },
    });
    await old(volumes);
    const removal = remove(volumes);
    await removing.promise;
    const returned = volumes.acquire(session("s"));
    // One that does not wait takes the same steps meanwhile.
    await (await volumes.acquire(session("other"))).release();
    gone.resolve();
    await removal;
    const lease = await returned;
    expect([existsSync(imageOf("s")), handles.has(lease.volume)]).toEqual([true, true]);
    await lease.release();
  });

  it("is not removed while a session starts with it, nor once it was used", async () => {
    const volumes = open();
    await old(volumes);
    const starting = volumes.acquire(session("s"));
    await remove(volumes);
    await (await starting).release();
    await remove(volumes);
    expect(existsSync(imageOf("s"))).toBe(true);
  });
});
