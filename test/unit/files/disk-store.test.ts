import { rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { newFile } from "../../support/files/new-file.ts";
import {
  chunks,
  contentFiles,
  DAY_MS,
  NO_LIMIT,
  openStore,
  put,
  temporaryDirectory,
  text,
} from "../../support/files/store.ts";
import { describeFileStore } from "../../support/files/store-suite.ts";

const content = (directory: string, id: string) => join(directory, "content", id.charAt(0), id);

describeFileStore(
  async () => {
    const directory = await temporaryDirectory();
    return {
      open: (options) => openStore({ ...options, directory }),
      contentIds: () => contentFiles(directory),
      loseContent: (id) => rm(content(directory, id)),
      addContent: (id) => writeFile(content(directory, id), "nobody's"),
    };
  },
  { orphanAgeMs: 0 },
);

it("does not read ahead of the disk", async () => {
  const directory = await temporaryDirectory();
  const store = await openStore({ directory });
  const block = Buffer.alloc(64 * 1024);
  let furthestAhead = 0;
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let produced = 0; produced < 200; produced++) {
      const [name] = await contentFiles(directory);
      const { size } = await stat(join(directory, "incoming", name ?? ""));
      furthestAhead = Math.max(furthestAhead, produced * block.length - size);
      yield block;
    }
  }
  expect((await store.stage(source(), NO_LIMIT)).size).toBe(200 * block.length);
  expect(furthestAhead).toBeLessThanOrEqual(256 * 1024);
});

it("the sweep removes what is neither in flight nor part of a file, wherever it lies", async () => {
  const directory = await temporaryDirectory();
  const store = await openStore({ directory });
  const kept = await put(store, "kept");
  const lost = await put(store, "lost");
  await rm(join(directory, "content", lost.id.charAt(0), lost.id));
  const orphan = newId();
  await writeFile(join(directory, "content", orphan.charAt(0), orphan), "nobody's");
  await writeFile(join(directory, "incoming", newId()), "half");
  const staged = await store.stage(chunks("in flight"), NO_LIMIT);

  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 2, orphanedRecords: 1 });
  expect((await contentFiles(directory)).sort()).toEqual([kept.id, staged.id].sort());
  expect(await store.find(lost.storageSessionId, lost.id)).toBeNull();
  const [record] = await store.commit([{ staged, file: newFile() }]);
  expect(record && (await text(await store.open(record)))).toBe("in flight");
});

it("a second process cannot open the same directory", async () => {
  const directory = await temporaryDirectory();
  await openStore({ directory });
  await expect(DiskFileStore.open({ directory, ttlMs: DAY_MS })).rejects.toMatchObject({ code: "in_use" });
});
