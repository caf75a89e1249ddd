import { expect, it } from "vitest";
import { expectWhole, putAndKill } from "../../support/files/killing.ts";
import { contentFiles, openStore, temporaryDirectory } from "../../support/files/store.ts";

it("kill -9 between any two steps loses no acknowledged file and leaves nothing that nobody owns", async () => {
  const directory = await temporaryDirectory();
  const acknowledged = await putAndKill([directory], 6);

  const store = await openStore({ directory });
  await store.sweep();
  await expectWhole(store, acknowledged);
  const present = new Set(await contentFiles(directory));
  for (const id of acknowledged.files.keys()) present.delete(id);
  for (const id of acknowledged.undecided.keys()) present.delete(id);
  // What remains was committed and not yet printed: it has a record, at most one per writer and round.
  expect(present.size).toBeLessThanOrEqual(4 * 6);
  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 0, orphanedRecords: 0 });
}, 60_000);
