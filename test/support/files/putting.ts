/** A process to kill: puts, links and deletes files as fast as it can and prints what the store has acknowledged. */
import { createHash, randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import { S3FileStore } from "../../../gateway/server/files/s3/store.ts";
import { HOLDER, newFile } from "./new-file.ts";

const [place, bucket] = process.argv.slice(2);
if (place === undefined) throw new Error("usage: putting.ts DIRECTORY | putting.ts ENDPOINT BUCKET");
const common = { ttlMs: 86_400_000, sweepEveryMs: 50 };
const store =
  bucket === undefined
    ? await DiskFileStore.open({ ...common, directory: place })
    : await S3FileStore.open({ ...common, bucket, prefix: "", region: "us-east-1", endpoint: place });
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`);

async function putForever(): Promise<never> {
  for (;;) {
    const content = randomBytes(Math.floor(Math.random() * 700_000));
    async function* bytes(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
    }
    const staged = await store.stage(bytes(), { maxBytes: 1_000_000, holder: HOLDER });
    const file = newFile();
    await store.commit([{ staged, file }]);
    const etag = createHash("sha256").update(content).digest("hex");
    say({ put: staged.id, session: file.storageSessionId, etag });
    if (Math.random() < 0.3) {
      say({ removing: staged.id });
      await store.remove(file.storageSessionId, staged.id);
      say({ removed: staged.id });
    }
  }
}

await Promise.all([putForever(), putForever(), putForever(), putForever()]);
