/** Uses every part of the store that the environment asks for, and prints which packages' code that loaded, and when. */
import { createRequire } from "node:module";
import { readSettings } from "../../../gateway/common/settings/read.ts";
import { loadStores } from "../../../gateway/server/files/load-store.ts";
import type { FileRecord } from "../../../gateway/server/files/store.ts";
import { HOLDER, newFile } from "../../support/files/new-file.ts";

const loaded = () => Object.keys(createRequire(import.meta.url).cache);

const { openFiles } = await loadStores(readSettings(process.env));
// From here on the gateway may no longer be able to read its own code.
const early = new Set(loaded());
const store = await openFiles((error) => {
  throw error;
});
const block = Buffer.alloc(1024 * 1024);

async function put(blocks: number): Promise<FileRecord> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < blocks; n++) yield block;
  }
  const staged = await store.stage(bytes(), { maxBytes: 1024 ** 3, holder: HOLDER });
  const [record] = await store.commit([{ staged, file: newFile() }]);
  if (!record) throw new Error("commit returned no record");
  return record;
}

const kept = await put(9);
const removed = await put(1);
await store.remove(removed.storageSessionId, removed.id);
if (await store.open(removed)) throw new Error("a removed file can be read");
const content = await store.open(kept);
for await (const chunk of content ?? []) void chunk;
await store.list(kept.storageSessionId);
await store.sweep();
await store.close();
process.stdout.write(
  JSON.stringify({
    client: loaded().some((path) => path.includes("/@aws-sdk/")),
    loadedLate: loaded().filter((path) => !early.has(path)),
    kept: kept.id,
  }),
);
