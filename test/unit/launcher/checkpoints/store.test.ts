import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { BrokenCheckpoint } from "../../../../gateway/launcher/checkpoints/seal.ts";
import { CheckpointStore } from "../../../../gateway/launcher/checkpoints/store.ts";

const PARTS = { runtime: "r", cpu: ["fpu"], image: "sha256:1", container: "c" };
const VOLUME = "librechat_vol_s.new";
const SANDBOX = "abcdefghijklmnopqrstu";
const SESSION = {
  key: { kind: "named", tenant: "default", name: "s.new" },
  owner: "o".repeat(21),
} as const;

const root = mkdtempSync(join(tmpdir(), "checkpoint-store-"));
afterAll(() => rmSync(root, { recursive: true }));

let directory: string;
let store: CheckpointStore;
beforeEach(async () => {
  directory = mkdtempSync(join(root, "s-"));
  store = await CheckpointStore.open(directory);
});

async function save(volume = VOLUME, owner = volume, bytes = 3 << 20): Promise<void> {
  const saving = store.savingDirectory(SANDBOX);
  mkdirSync(saving);
  writeFileSync(join(saving, "pages.img"), Buffer.alloc(bytes, 7));
  writeFileSync(join(saving, "checkpoint.img"), "objects");
  await store.seal.close(saving, { owner, parts: PARTS, saved_at: 1, session: SESSION });
  await store.keepSession(saving, volume);
}

const pages = () => join(store.sessionDirectory(VOLUME), "pages.img");

describe("a session asleep", () => {
  test("is found by another launcher, wakes once, and is gone then", async () => {
    await save();
    const next = await CheckpointStore.open(directory);
    expect(next.asleep.list()).toMatchObject([{ volume: VOLUME, session: SESSION }]);
    const taken = await next.takeSession(VOLUME, SANDBOX);
    if (taken === null) throw new Error("it is not asleep");
    expect(taken.manifest).toMatchObject({ owner: VOLUME, parts: PARTS });
    await next.seal.verifyObjects(taken.directory, taken.manifest);
    await next.seal.verifyMemory(taken.directory, taken.manifest);
    expect(await next.takeSession(VOLUME, SANDBOX)).toBeNull();
    expect(next.asleep.list()).toEqual([]);
  });

  test("that a launcher did not finish to save or to wake is removed, but not under the hands of one at work", async () => {
    await save();
    await store.takeSession(VOLUME, SANDBOX);
    mkdirSync(store.savingDirectory("another"));
    await store.removeUnfinished((id) => id === SANDBOX);
    expect(readdirSync(directory, { recursive: true })).toContain(`waking/${SANDBOX}/pages.img`);
    expect(readdirSync(join(directory, "saving"))).toEqual([]);
    await store.removeUnfinished(() => false);
    expect(readdirSync(join(directory, "waking"))).toEqual([]);
  });

  test("that was not used after all sleeps on", async () => {
    await save();
    const taken = await store.takeSession(VOLUME, SANDBOX);
    if (taken !== null) await store.putBack(taken, VOLUME);
    expect(await store.takeSession(VOLUME, SANDBOX)).not.toBeNull();
  });

  test.each<[string, () => void]>([
    ["one bit of its memory", () => flip(pages(), 1 << 20)],
    ["its memory's end", () => writeFileSync(pages(), Buffer.alloc((3 << 20) - 1, 7))],
    ["its memory", () => rmSync(pages())],
    ["one bit of its objects", () => flip(join(store.sessionDirectory(VOLUME), "checkpoint.img"), 2)],
  ])("that has lost %s is not believed", async (_what, damage) => {
    await save();
    damage();
    const taken = await store.takeSession(VOLUME, SANDBOX);
    if (taken === null) throw new Error("it is not asleep");
    const { directory, manifest } = taken;
    const verified = store.seal
      .verifyObjects(directory, manifest)
      .then(() => store.seal.verifyMemory(directory, manifest));
    await expect(verified).rejects.toThrow(BrokenCheckpoint);
  });

  test.each<[string, (path: string) => void]>([
    ["cut", (path) => writeFileSync(path, readFileSync(path).subarray(0, 40))],
    ["changed", (path) => writeFileSync(path, readFileSync(path, "utf8").replace("sha256:1", "sha256:2"))],
    ["missing", (path) => rmSync(path)],
  ])("whose manifest is %s is not believed, and gone", async (_how, damage) => {
    await save();
    damage(join(store.sessionDirectory(VOLUME), "manifest.json"));
    await expect(store.takeSession(VOLUME, SANDBOX)).rejects.toThrow(BrokenCheckpoint);
    expect(store.asleep.list()).toEqual([]);
  });

  test("is nobody else's: not under another session's name, and not on another host", async () => {
    await save();
    renameSync(store.sessionDirectory(VOLUME), store.sessionDirectory("librechat_vol_other"));
    await expect(store.takeSession("librechat_vol_other", SANDBOX)).rejects.toThrow("another session's");
    await save();
    const elsewhere = await CheckpointStore.open(mkdtempSync(join(root, "s-")));
    renameSync(store.sessionDirectory(VOLUME), elsewhere.sessionDirectory(VOLUME));
    await expect(elsewhere.takeSession(VOLUME, SANDBOX)).rejects.toThrow("made elsewhere");
  });
});

describe("sessions asleep are counted", () => {
  const both = (sizes: readonly number[]) => ({
    count: sizes.length,
    bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
  });
  /** As somebody counts who looks at the disk. */
  const onDisk = () => {
    const directory = store.sessionDirectory("");
    const sizes = readdirSync(directory).map((volume) =>
      readdirSync(join(directory, volume)).reduce(
        (sum, name) => sum + statSync(join(directory, volume, name)).size,
        0,
      ),
    );
    return both(sizes);
  };
  const counted = ({ asleep } = store) => ({ count: asleep.count, bytes: asleep.bytes });

  test("as the disk has them, whatever becomes of them, and after a restart", async () => {
    const steps: (() => Promise<unknown>)[] = [
      () => save(),
      () => save("librechat_vol_other", "librechat_vol_other", 5000),
      // Another checkpoint of the same session takes the place of the first.
      () => save(VOLUME, VOLUME, 4000),
      async () => {
        const taken = await store.takeSession(VOLUME, SANDBOX);
        expect(counted()).toEqual(onDisk());
        if (taken !== null) await store.putBack(taken, VOLUME);
      },
      () => store.takeSession("librechat_vol_nobody", SANDBOX),
      () => store.dropSession(VOLUME, "the disk was full"),
      () => store.dropSession(VOLUME, "the disk was full"),
      () => save("librechat_vol_third"),
      () => store.removeSession("librechat_vol_other"),
    ];
    const seen: number[] = [];
    for (const step of steps) {
      await step();
      expect(counted()).toEqual(onDisk());
      expect(counted(await CheckpointStore.open(directory))).toEqual(onDisk());
      seen.push(store.asleep.count);
    }
    expect(seen).toEqual([1, 2, 2, 2, 2, 1, 1, 2, 1]);
  });

  test("also where nobody can tell any more which they are", async () => {
    await save();
    await save("librechat_vol_moved", "librechat_vol_elsewhere");
    writeFileSync(join(store.sessionDirectory(VOLUME), "manifest.json"), "{");
    const next = await CheckpointStore.open(directory);
    expect(next.asleep.list()).toMatchObject([{ session: null }, { session: null }]);
    expect(counted(next)).toEqual(onDisk());
  });
});

describe("what a launcher that died left half done", () => {
  test("is removed: what was being saved, what was being woken", async () => {
    await save();
    await store.takeSession(VOLUME, SANDBOX);
    mkdirSync(store.savingDirectory("another"));
    const next = await CheckpointStore.open(directory);
    expect(next.asleep.list()).toEqual([]);
    // Nobody knows whether it ran: its variables are lost unless its sandbox is there.
    expect(next.ledger.whyLost(VOLUME)).toContain("restarted");
  });
});

describe("the ledger", () => {
  test("tells a loss until code has run, and only of who had something to lose", () => {
    const { ledger } = store;
    expect(ledger.whyLost(VOLUME)).toBeNull();
    ledger.lost(VOLUME, "it ran out of memory", SANDBOX);
    expect(ledger.whyLost(VOLUME)).toBeNull();
    ledger.awake(VOLUME, SANDBOX);
    ledger.lost(VOLUME, "it ran out of memory", SANDBOX);
    expect(ledger.whyLost(VOLUME)).toBe("it ran out of memory");
    ledger.lost(VOLUME, "another reason", SANDBOX);
    expect(ledger.whyLost(VOLUME)).toBe("it ran out of memory");
    ledger.awake(VOLUME, "the-next-sandbox");
    expect(ledger.whyLost(VOLUME)).toContain("restarted");
  });

  test("is settled by whoever ends the sandbox, and by nobody else", () => {
    const { ledger } = store;
    ledger.awake(VOLUME, SANDBOX);
    ledger.settle(VOLUME, "another", null);
    expect(ledger.whyLost(VOLUME)).not.toBeNull();
    ledger.settle(VOLUME, SANDBOX, "it was not used for too long");
    expect(ledger.whyLost(VOLUME)).toBe("it was not used for too long");
    ledger.settle(VOLUME, SANDBOX, null);
    expect(ledger.whyLost(VOLUME)).toBeNull();
  });

  test("keeps sessions apart whose names differ by a suffix, and survives a file cut short", () => {
    const { ledger } = store;
    ledger.awake("librechat_vol_s", SANDBOX);
    expect(ledger.whyLost(VOLUME)).toBeNull();
    writeFileSync(join(directory, "awake", VOLUME), '{"state":"aw');
    expect(ledger.whyLost(VOLUME)).toContain("restarted");
  });
});

function flip(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
