/** The audit log's copy on a real S3 server: what the stand-in of the unit tests promises, and large files. */
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { AuditCopy } from "../../../gateway/server/audit/copy/copy.ts";
import { ObjectChanged } from "../../../gateway/server/audit/copy/objects.ts";
import { S3AuditObjects } from "../../../gateway/server/audit/copy/s3.ts";
import { AuditLog } from "../../../gateway/server/audit/log.ts";
import { line } from "../../support/audit-entries.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../files/s3-server.ts";

/** The server is built the first time. */
const BUILT_WITHIN_MS = 600_000;
const MIB = 1024 * 1024;
const TODAY = "audit-2026-11-26.1.jsonl";

let server: S3Server;
let directory: string;
let bucket: string;

beforeAll(async () => {
  server = await startS3();
}, BUILT_WITHIN_MS);
afterAll(() => server.stop());

beforeEach(async () => {
  for (const [name, value] of Object.entries(TEST_CREDENTIALS)) vi.stubEnv(name, value);
  directory = mkdtempSync(join(tmpdir(), "ky-audit-objects-"));
  bucket = await server.makeBucket();
  return () => rmSync(directory, { recursive: true, force: true });
});

const objectsOf = () =>
  new S3AuditObjects({ bucket, prefix: "yard/", region: "us-east-1", endpoint: server.endpoint });
const signal = new AbortController().signal;
const chunks = async function* (...texts: string[]) {
  for (const text of texts) yield Buffer.from(text);
};
const keys = async () => (await server.keys(bucket)).filter((key) => key.startsWith("yard/")).sort();

async function textOf(objects: S3AuditObjects, key: string): Promise<string | null> {
  const found = await objects.open(key, { signal });
  if (found === null) return null;
  const parts: Uint8Array[] = [];
  for await (const part of found.bytes) parts.push(part);
  return Buffer.concat(parts).toString();
}

it("an object is replaced whole, or only in the place of what was read", async () => {
  const objects = objectsOf();
  expect(await objects.open("audit/a", { signal })).toBeNull();
  expect(await objects.put("audit/a", chunks("one", "two"), { signal })).toEqual({ versioned: false });
  const first = await objects.open("audit/a", { signal });
  if (first === null) throw new Error("it was put");
  for await (const part of first.bytes) void part;
  await objects.put("audit/a", chunks("newer"), { signal });
  await expect(objects.put("audit/a", chunks("x"), { match: first.tag, signal })).rejects.toThrow(
    ObjectChanged,
  );
  await expect(objects.open("audit/a", { match: first.tag, signal })).rejects.toThrow(ObjectChanged);
  expect(await textOf(objects, "audit/a")).toBe("newer");
  const now = await objects.open("audit/a", { signal });
  if (now === null) throw new Error("it was put");
  for await (const part of now.bytes) void part;
  await objects.put("audit/a", chunks("after"), { match: now.tag, signal });
  expect(await textOf(objects, "audit/a")).toBe("after");
  await objects.put("audit/a", chunks(), { signal });
  expect(await textOf(objects, "audit/a")).toBe("");
  objects.close();
});

it("a listing goes on behind a key", async () => {
  const objects = objectsOf();
  for (const name of ["a", "b", "c"]) await objects.put(`audit/${name}`, chunks(name), { signal });
  const found: string[] = [];
  for await (const page of objects.list("audit/", { after: "audit/a", signal })) {
    found.push(...page.map(({ key, bytes }) => `${key} ${bytes}`));
  }
  expect(found).toEqual(["audit/b 1", "audit/c 1"]);
  objects.close();
});

it("a put of many parts that breaks off leaves what was there, and nothing unfinished", async () => {
  const objects = objectsOf();
  await objects.put("audit/a", chunks("before"), { signal });
  const broken = (async function* () {
    for (let n = 0; n < 20; n += 1) yield Buffer.alloc(MIB, "x");
    throw new Error("the disk is gone");
  })();
  await expect(objects.put("audit/a", broken, { signal })).rejects.toThrow("the disk is gone");
  expect(await textOf(objects, "audit/a")).toBe("before");
  expect(await server.keys(bucket)).toEqual(["yard/audit/a"]);
  objects.close();
});

it("a put ends with its signal", async () => {
  const objects = objectsOf();
  const stop = new AbortController();
  const endless = (async function* () {
    for (let n = 0; ; n += 1) {
      if (n === 20) stop.abort(new Error("enough"));
      yield Buffer.alloc(MIB, "x");
    }
  })();
  await expect(objects.put("audit/a", endless, { signal: stop.signal })).rejects.toThrow();
  expect(await server.keys(bucket)).toEqual([]);
  objects.close();
});

it("a file of many parts is copied, erased from and gone on with, here and in a lost host's folder", async () => {
  const objects = objectsOf();
  const problems: unknown[] = [];
  const open = (more: S3AuditObjects) =>
    new AuditCopy({
      directory,
      host: "host",
      objects: more,
      now: Date.now,
      onProblem: (problem) => problems.push(problem),
      onLost: (name) => problems.push(name),
    });
  const path = join(directory, TODAY);
  const others = line("bob").repeat(30_000);
  writeFileSync(path, `${others}${line("alice")}${others}`);
  const lost = `audit/lost.${"x".repeat(21)}/${TODAY}`;
  await objects.put(lost, chunks(others, line("alice"), others), { signal });
  const copy = open(objects);
  const log = new AuditLog({
    directory,
    keepDays: 9,
    maxBytes: 1e9,
    now: Date.now,
    onProblem: (problem) => problems.push(problem),
    copy,
  });
  expect(await copy.copy()).toBe(true);
  const [own = ""] = (await keys()).filter((key) => !key.includes("lost."));
  const key = own.slice("yard/".length);
  expect((await textOf(objects, key))?.length).toBe((await stat(path)).size);
  expect((await stat(path)).size).toBeGreaterThan(16 * MIB);
  const report = await log.erase({ tenant: "jwt-t", user: "alice" }, "remove");
  expect(report).toEqual({
    entries: 1,
    copy: { entries: 1, late: 0, unread: 0, problem: null, versioned: false },
  });
  expect((await textOf(objects, key)) === others + others).toBe(true);
  expect((await textOf(objects, lost)) === others + others).toBe(true);

  appendFileSync(path, line("carol"));
  const next = open(objectsOf());
  expect(await next.copy()).toBe(true);
  expect((await textOf(objects, key))?.endsWith(line("carol"))).toBe(true);
  expect(await keys()).toEqual([own, `yard/${lost}`].sort());

  // As a snapshot has it.
  truncateSync(path, 1000);
  const later = open(objectsOf());
  expect(await later.copy()).toBe(true);
  expect(await keys()).toHaveLength(3);
  expect((await textOf(objects, key))?.endsWith(line("carol"))).toBe(true);
  expect(problems).toEqual([]);
  for (const one of [next, later]) await one.close(1000);
  await log.close();
});
