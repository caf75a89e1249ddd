/** The S3 store against a real S3 server: what every store promises, and what only this one has. */
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import {
  ORPHAN_AGE_MS,
  S3FileStore,
  type S3FileStoreOptions,
} from "../../../gateway/server/files/s3/store.ts";
import { assignments } from "../../../infra/services/environment.ts";
import { HOST_ENVIRONMENT, hostFiles, hostPlaces } from "../../../infra/targets/aws/host-files.ts";
import { expectWhole, putAndKill } from "../../support/files/killing.ts";
import { newFile } from "../../support/files/new-file.ts";
import { chunks, DAY_MS, NO_LIMIT, put, temporaryDirectory, text } from "../../support/files/store.ts";
import { describeFileStore } from "../../support/files/store-suite.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "./s3-server.ts";

/** The server is built the first time: a minute and a half on two cores. */
const BUILT_WITHIN_MS = 600_000;

let server: S3Server;

beforeAll(async () => {
  server = await startS3();
}, BUILT_WITHIN_MS);
afterAll(async () => {
  await server.stop();
});

async function openStore(
  options: Pick<S3FileStoreOptions, "bucket"> & Partial<S3FileStoreOptions>,
): Promise<S3FileStore> {
  for (const [name, value] of Object.entries(TEST_CREDENTIALS)) vi.stubEnv(name, value);
  const store = await S3FileStore.open({
    prefix: "",
    region: "us-east-1",
    endpoint: server.endpoint,
    ttlMs: DAY_MS,
    ...options,
  });
  onTestFinished(() => store.close());
  return store;
}

/** Those of contents; an upload in parts lies in a folder of the server's own until it is complete. */
const contentIds = (keys: readonly string[]) =>
  keys
    .filter((key) => key.includes("content/") || key.startsWith(".sgwtmp/"))
    .map((key) => key.slice(key.lastIndexOf("/") + 1));

describeFileStore(
  async () => {
    const bucket = await server.makeBucket();
    const prefix = "kernelyard/test/";
    return {
      open: (options) => openStore({ ...options, bucket, prefix }),
      contentIds: async () => contentIds(await server.keys(bucket)),
      loseContent: (id) => server.loseObject(bucket, `${prefix}content/${id}`),
      addContent: (id) => server.addObject(bucket, `${prefix}content/${id}`, "nobody's"),
      setWritten: async ({ id, storageSessionId }, atMs) => {
        const keys = [`content/${id}`, `files/${id}.json`, `sessions/${storageSessionId}/${id}.json`];
        for (const key of keys) await server.setModified(bucket, prefix + key, atMs);
      },
    };
  },
  { orphanAgeMs: ORPHAN_AGE_MS },
);

const BLOCK = Buffer.alloc(1024 * 1024, "kernelyard");

describe("a file of many parts", () => {
  async function* blocks(count: number, end?: Error): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < count; n++) yield BLOCK;
    if (end) throw end;
  }

  it("is stored and read back, whole and from the middle", async () => {
    const store = await openStore({ bucket: await server.makeBucket() });
    const staged = await store.stage(blocks(21), NO_LIMIT);
    const [record] = await store.commit([{ staged, file: newFile() }]);
    if (!record) throw new Error("commit returned no record");
    const hash = createHash("sha256");
    for (let n = 0; n < 21; n++) hash.update(BLOCK);
    expect(record).toMatchObject({ size: 21 * BLOCK.length, etag: hash.digest("hex") });
    expect((await text(await store.open(record))).length).toBe(21 * BLOCK.length);
    const start = 8 * BLOCK.length - 2;
    const middle = await text(await store.open(record, { start, end: start + 3 }));
    expect(middle).toBe(BLOCK.subarray(-2).toString() + BLOCK.subarray(0, 2).toString());
  });

  it("leaves nothing when it is too large or its source breaks", async () => {
    const bucket = await server.makeBucket();
    const store = await openStore({ bucket });
    await expect(store.stage(blocks(21), { ...NO_LIMIT, maxBytes: 20 * BLOCK.length })).rejects.toMatchObject(
      {
        code: "too_large",
      },
    );
    await expect(store.stage(blocks(10, new Error("client hung up")), NO_LIMIT)).rejects.toThrow(
      "client hung up",
    );
    expect(await server.keys(bucket)).toEqual([]);
  });

  it("whose process died is given up by a sweep, once it is old", async () => {
    const bucket = await server.makeBucket();
    const store = await openStore({ bucket });
    let reached = () => {};
    const secondPart = new Promise<void>((resolve) => {
      reached = resolve;
    });
    async function* stuck(): AsyncGenerator<Uint8Array> {
      yield* blocks(9);
      reached();
      await new Promise(() => {});
    }
    void store.stage(stuck(), NO_LIMIT);
    await secondPart;
    expect(await server.keys(bucket)).not.toEqual([]);

    const young = await openStore({ bucket });
    expect(await young.sweep()).toMatchObject({ orphanedContent: 0 });
    const later = await openStore({ bucket, now: () => Date.now() + ORPHAN_AGE_MS + 60_000 });
    expect(await later.sweep()).toMatchObject({ orphanedContent: 1 });
    expect(await server.keys(bucket)).toEqual([]);
  });
});

it("two gateways on one bucket see each other's files at once, and leave unfinished ones alone", async () => {
  const bucket = await server.makeBucket();
  const [a, b] = [await openStore({ bucket }), await openStore({ bucket })];
  const record = await put(a, "shared");
  expect((await b.list(record.storageSessionId)).map((file) => file.record)).toEqual([record]);
  expect(await text(await b.open(record))).toBe("shared");
  const staged = await a.stage(chunks("on its way"), NO_LIMIT);
  expect(await b.sweep()).toEqual({ expired: 0, orphanedContent: 0, orphanedRecords: 0 });
  await a.commit([{ staged, file: newFile() }]);
  await b.remove(record.storageSessionId, record.id);
  expect(await a.find(record.storageSessionId, record.id)).toBeNull();
});

it("bytes that have waited too long for their record are refused: a sweep elsewhere may have taken them", async () => {
  let now = Date.now();
  const bucket = await server.makeBucket();
  const store = await openStore({ bucket, now: () => now });
  const staged = await store.stage(chunks("late"), NO_LIMIT);
  now += ORPHAN_AGE_MS / 2 + 1;
  await expect(store.commit([{ staged, file: newFile() }])).rejects.toMatchObject({ code: "gone" });
  expect(await server.keys(bucket)).toEqual([]);
});

it("a batch whose records cannot be written is taken back whole", async () => {
  const bucket = await server.makeBucket();
  const store = await openStore({ bucket });
  const storageSessionId = newId();
  const files = await Promise.all(
    ["1", "2"].map(async (name) => ({
      staged: await store.stage(chunks(name), NO_LIMIT),
      file: newFile({ storageSessionId, name }),
    })),
  );
  // An object where the folder of the records should be.
  await server.addObject(bucket, "files", "in the way");
  await expect(store.commit(files)).rejects.toThrow();
  expect(await server.keys(bucket)).toEqual(["files"]);
});

it("a sweep takes more than one page of a listing", async () => {
  const bucket = await server.makeBucket();
  const store = await openStore({ bucket, now: () => Date.now() + ORPHAN_AGE_MS + 60_000 });
  for (let n = 0; n < 2100; n++) await server.addObject(bucket, `content/${newId()}`, "");
  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 2100, orphanedRecords: 0 });
  expect(await server.keys(bucket)).toEqual([]);
});

it("kill -9 between any two steps loses no acknowledged file and leaves nothing that nobody owns", async () => {
  const bucket = await server.makeBucket();
  for (const [name, value] of Object.entries(TEST_CREDENTIALS)) vi.stubEnv(name, value);
  const acknowledged = await putAndKill([server.endpoint, bucket], 4);

  const store = await openStore({ bucket, now: () => Date.now() + ORPHAN_AGE_MS + 60_000 });
  await store.sweep();
  await expectWhole(store, acknowledged);
  const present = new Set(contentIds(await server.keys(bucket)));
  for (const id of acknowledged.files.keys()) present.delete(id);
  for (const id of acknowledged.undecided.keys()) present.delete(id);
  // What remains was committed and not yet printed: it has a record, at most one per writer and round.
  expect(present.size).toBeLessThanOrEqual(4 * 4);
  expect(await store.sweep()).toEqual({ expired: 0, orphanedContent: 0, orphanedRecords: 0 });
}, 60_000);

it("a bucket that cannot be used is refused at the start, with what to look at", async () => {
  await expect(openStore({ bucket: "no-such-bucket" })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringMatching(/no-such-bucket at http:.*NoSuchBucket.*KERNELYARD_S3_BUCKET/s),
  });
});

/** In a process of its own, since this one has loaded everything already. */
function runLoading(environment: Readonly<Record<string, string>>): unknown {
  const printed = execFileSync(process.execPath, [join(import.meta.dirname, "loading.ts")], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, ...environment },
  });
  const parsed: unknown = JSON.parse(printed);
  return parsed;
}

it("is what KERNELYARD_FILE_STORE=s3 gives, and has loaded all its code before it is opened", async () => {
  const bucket = await server.makeBucket();
  const result = runLoading({
    ...TEST_CREDENTIALS,
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: bucket,
    KERNELYARD_S3_PREFIX: "yard",
    KERNELYARD_S3_ENDPOINT: server.endpoint,
  });
  expect(result).toEqual({ client: true, loadedLate: [], kept: expect.any(String) });
  const { kept } = z.object({ kept: z.string() }).parse(result);
  expect((await server.keys(bucket)).filter((key) => key.includes(kept)).sort()).toEqual([
    `yard/content/${kept}`,
    `yard/files/${kept}.json`,
    expect.stringMatching(/^yard\/sessions\/[^/]+\/[^/]+\.json$/),
    expect.stringMatching(/^yard\/usage\/[^/]+\/[^/]+\.\d+$/),
  ]);
});

it("works with the credentials that an AWS host hands to its gateway", async () => {
  const bucket = await server.makeBucket();
  const folder = await temporaryDirectory();
  const metadata = createServer((request, response) => {
    response.end(request.method === "PUT" ? "token" : "i-0123456789");
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void metadata.close());
  await once(metadata, "listening");
  const { port } = z.object({ port: z.number() }).parse(metadata.address());
  // The host's own folders, moved; its AWS command, answering what STS answers.
  const here = (text: string) =>
    text
      .replaceAll(HOST_ENVIRONMENT, join(folder, "host.env"))
      .replaceAll("/usr/local/lib/kernelyard", folder);
  for (const { path, content } of hostFiles(
    { data: "/data", dockerSocket: "/var/run/docker.sock" },
    { port: 3112, isolation: "runsc", settings: {} },
    true,
    null,
  )) {
    if (path.endsWith(".sh")) await writeFile(join(folder, basename(path)), here(content), { mode: 0o755 });
  }
  const answer = {
    AccessKeyId: TEST_CREDENTIALS.AWS_ACCESS_KEY_ID,
    SecretAccessKey: TEST_CREDENTIALS.AWS_SECRET_ACCESS_KEY,
    Expiration: new Date(Date.now() + 3_600_000).toISOString(),
  };
  const aws = `#!/bin/sh\necho "$*" >>${folder}/calls\ncat <<'END'\n${JSON.stringify(answer, null, 4)}\nEND\n`;
  await writeFile(join(folder, "aws"), aws, { mode: 0o755 });
  const environment = {
    ...hostPlaces(true),
    CREDENTIALS_FOLDER: join(folder, "credentials"),
    IMDS: `http://127.0.0.1:${port}`,
    FILES_ROLE: "arn:role",
  };
  await writeFile(join(folder, "host.env"), `${assignments(environment).join("\n")}\n`);
  const renew = () =>
    promisify(execFile)(join(folder, "credentials.sh"), [], {
      env: { PATH: `${folder}:${process.env.PATH}` },
    });
  await renew();
  await renew();
  const calls = await readFile(join(folder, "calls"), "utf8");
  expect(calls.trim().split("\n"), "fresh ones are kept").toEqual([
    expect.stringMatching(/^sts assume-role --role-arn arn:role --role-session-name i-0123456789 /),
  ]);
  const result = runLoading({
    AWS_CONFIG_FILE: join(folder, "credentials/config"),
    KERNELYARD_FILE_STORE: "s3",
    KERNELYARD_S3_BUCKET: bucket,
    KERNELYARD_S3_ENDPOINT: server.endpoint,
  });
  expect(result).toMatchObject({ client: true, loadedLate: [] });
});

it("costs a gateway with files on its disk nothing: the client is not loaded", async () => {
  const result = runLoading({ KERNELYARD_DATA_DIR: await temporaryDirectory() });
  expect(result).toEqual({ client: false, loadedLate: [], kept: expect.any(String) });
});
