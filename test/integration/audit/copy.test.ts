/** A real gateway, its process and its privileges, and its audit log in a bucket of a real S3 server. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../files/s3-server.ts";
import { LoneGateway } from "./gateway.ts";

/** The server is built the first time. */
const BUILT_WITHIN_MS = 600_000;
/** A bucket that was away is tried again within this and a quarter of a minute. */
const BACK_WITHIN_MS = 60_000;

let server: S3Server;
let bucket: string;
let gateway: LoneGateway;

beforeAll(async () => {
  server = await startS3();
}, BUILT_WITHIN_MS);
afterAll(() => server.stop());

beforeEach(async () => {
  bucket = await server.makeBucket();
  gateway = await LoneGateway.make({
    ...TEST_CREDENTIALS,
    KERNELYARD_AUDIT_S3_BUCKET: bucket,
    KERNELYARD_AUDIT_S3_PREFIX: "yard",
    KERNELYARD_S3_ENDPOINT: server.endpoint,
  });
  return () => gateway.dispose();
});

const AUDIT_KEY = /^yard\/audit\/[A-Za-z0-9-]+\.[A-Za-z0-9_-]{21}\/audit-\d{4}-\d\d-\d\d\.\d+\.jsonl$/;

/** Requests that the bucket knows of; each is named by its upload. */
async function inBucket(): Promise<string[]> {
  const keys = (await server.keys(bucket)).filter((key) => !key.startsWith(".sgwtmp"));
  for (const key of keys) expect(key).toMatch(AUDIT_KEY);
  const texts = keys.sort().map((key) => readFileSync(join(server.directory, bucket, key), "utf8"));
  return [...texts.join("").matchAll(/"request":"([^"]+)"/g)].map(([, request = ""]) => request);
}

const onDisk = () => {
  const directory = join(gateway.dataDir, "gateway/audit");
  const names = readdirSync(directory).filter((name) => name.endsWith(".jsonl"));
  return names.map((name) => readFileSync(join(directory, name), "utf8")).join("");
};

it("a stop takes the last entries along; what kill -9 leaves behind, the next start puts", async () => {
  await gateway.start();
  expect(await gateway.upload("first")).toBe(200);
  await gateway.end("SIGTERM");
  expect(await inBucket()).toEqual(["first"]);

  await gateway.start();
  await expect.poll(() => gateway.metric("kernelyard_audit_copy_age_seconds")).toBeLessThan(60);
  expect(await gateway.upload("second")).toBe(200);
  await expect.poll(onDisk).toContain('"request":"second"');
  await gateway.end("SIGKILL");
  expect(await inBucket()).toEqual(["first"]);

  await gateway.start();
  await expect.poll(inBucket).toEqual(["first", "second"]);
  expect(await gateway.metric('kernelyard_audit_copies_total{outcome="put"}')).toBe(1);
  expect(await gateway.metric('kernelyard_audit_copies_total{outcome="failed"}')).toBe(0);
  await gateway.end("SIGTERM");
});

it("a bucket that is away keeps nobody from starting or from being served, and has all when it is back", async () => {
  await server.leave();
  await gateway.start();
  expect(await gateway.upload("while-away")).toBe(200);
  await expect
    .poll(() => gateway.metric('kernelyard_audit_copies_total{outcome="failed"}'))
    .toBeGreaterThan(0);
  expect(await gateway.metric("kernelyard_audit_copy_age_seconds")).toBeGreaterThan(0);
  const said = () => gateway.messages.filter((message) => message.includes("audit log"));
  expect(said()).toEqual([
    expect.stringMatching(/^the audit log is not copied to the bucket .*KERNELYARD_AUDIT_S3_BUCKET/),
  ]);
  await server.comeBack();
  await expect.poll(inBucket, { timeout: BACK_WITHIN_MS }).toEqual(["while-away"]);
  await expect.poll(said).toHaveLength(2);
  expect(said()[1]).toBe("the audit log is copied to its bucket again");

  await server.leave();
  expect(await gateway.upload("last")).toBe(200);
  await gateway.end("SIGTERM");
  await server.comeBack();
  expect(await inBucket()).toEqual(["while-away"]);
  await gateway.start();
  await expect.poll(inBucket).toEqual(["while-away", "last"]);
  await gateway.end("SIGTERM");
});

/** In a process of its own, since this one has loaded everything already. `whenLoaded`: before it needs the bucket. */
async function runLoading(settings: Readonly<Record<string, string>>, whenLoaded = async () => {}) {
  const child = fork(join(import.meta.dirname, "loading.ts"), [gateway.dataDir], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  if (child.stdout === null) throw new Error("it has no output");
  const printed = text(child.stdout);
  await once(child, "message");
  await whenLoaded();
  const parsed: unknown = JSON.parse(await printed);
  return parsed;
}

it.each(["there", "away at the start"])(
  "has loaded all its code before privileges go, with the bucket %s",
  async (where) => {
    const settings = {
      ...TEST_CREDENTIALS,
      KERNELYARD_AUDIT_S3_BUCKET: bucket,
      KERNELYARD_S3_ENDPOINT: server.endpoint,
    };
    const away = where !== "there";
    if (away) await server.leave();
    const result = await runLoading(settings, async () => {
      if (away) await server.comeBack();
    });
    expect(result).toEqual({
      client: true,
      loadedLate: [],
      erased: { entries: 1, copy: expect.objectContaining({ late: 0, unread: 0 }) },
    });
  },
);

it("costs a gateway without such a bucket nothing: the client is not loaded", async () => {
  expect(await runLoading({})).toEqual({
    client: false,
    loadedLate: [],
    erased: { entries: 1, copy: null },
  });
});
