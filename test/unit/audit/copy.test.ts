/** The audit log's copy in a bucket; the bucket is a stand-in, files are real. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { AuditCopy, type AuditCopyOptions } from "../../../gateway/server/audit/copy/copy.ts";
import { AuditLog } from "../../../gateway/server/audit/log.ts";
import { entry, line } from "../../support/audit-entries.ts";
import { BucketStandIn } from "./bucket-stand-in.ts";

const ALICE = { tenant: "jwt-t", user: "alice" };
const OLD = "audit-2026-11-25.1.jsonl";
const TODAY = "audit-2026-11-26.1.jsonl";
const NEXT = "audit-2026-11-26.2.jsonl";

let directory: string;
let bucket: BucketStandIn;
let now: number;
let problems: (string | null)[];
let lost: string[];

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "ky-audit-copy-")), "audit");
  mkdirSync(directory);
  bucket = new BucketStandIn();
  now = Date.UTC(2026, 10, 26, 12);
  problems = [];
  lost = [];
  return () => rmSync(join(directory, ".."), { recursive: true, force: true });
});

const open = (more: Partial<AuditCopyOptions> = {}) =>
  new AuditCopy({
    directory,
    host: "ip-10-0-0-5.example",
    objects: bucket,
    now: () => now,
    onProblem: (one) => problems.push(one),
    onLost: (name) => lost.push(name),
    ...more,
  });
const logWith = (copy: AuditCopy) =>
  new AuditLog({ directory, keepDays: 9, maxBytes: 1e9, now: () => now, onProblem: () => {}, copy });

const onDisk = (name: string, text: string) => writeFileSync(join(directory, name), text);
const append = (name: string, text: string) => appendFileSync(join(directory, name), text);
const folder = () => {
  const { folder: name } = JSON.parse(readFileSync(join(directory, "copy.json"), "utf8"));
  return `audit/${name}`;
};
const inBucket = (name: string) => bucket.text(`${folder()}/${name}`);
const puts = () => bucket.puts.splice(0).map((key) => key.slice(key.lastIndexOf("/") + 1));

describe("a copy of the audit log", () => {
  it("has every file in a folder of this directory's own, and puts again what has grown", async () => {
    onDisk(OLD, line("alice"));
    onDisk(TODAY, line("bob"));
    onDisk("notes.txt", "not ours");
    const copy = open();
    expect(await copy.copy()).toBe(true);
    expect(folder()).toMatch(/^audit\/ip-10-0-0-5-example\.[A-Za-z0-9_-]{21}$/);
    expect(puts()).toEqual([OLD, TODAY]);
    append(TODAY, line("carol"));
    await copy.copy();
    await copy.copy();
    expect(puts()).toEqual([TODAY]);
    expect([inBucket(OLD), inBucket(TODAY)]).toEqual([line("alice"), line("bob") + line("carol")]);
    onDisk(NEXT, line("dave"));
    await copy.copy();
    expect(puts()).toEqual([NEXT]);
  });

  it("keeps in the bucket what goes from the disk in its time", async () => {
    onDisk(OLD, line("alice"));
    onDisk(TODAY, line("bob"));
    const copy = open();
    await copy.copy();
    rmSync(join(directory, OLD));
    await copy.copy();
    expect(inBucket(OLD)).toBe(line("alice"));
    expect(lost).toEqual([]);
  });

  it("of a killed process is gone on with: the next puts what the bucket does not have", async () => {
    onDisk(OLD, line("alice"));
    onDisk(TODAY, line("bob"));
    await open().copy();
    puts();
    append(TODAY, line("carol"));
    onDisk(NEXT, line("dave"));
    await open().copy();
    expect(puts()).toEqual([TODAY, NEXT]);
    expect(bucket.dropped).toEqual([`${folder()}/`, `${folder()}/`]);
    expect(inBucket(TODAY)).toBe(line("bob") + line("carol"));
  });

  it.each([
    ["a snapshot, with a shorter file", () => onDisk(TODAY, line("bob"))],
    ["a snapshot, with fewer files", () => rmSync(join(directory, NEXT))],
    ["a backup, which has no copy.json", () => rmSync(join(directory, "copy.json"))],
  ])("of a directory that came from %s begins a new folder and replaces nothing", async (_, restore) => {
    onDisk(TODAY, line("bob") + line("carol"));
    onDisk(NEXT, line("dave"));
    await open().copy();
    const before = new Map(bucket.objects);
    const earlier = folder();
    restore();
    append(TODAY, line("erin"));
    await open().copy();
    expect(folder()).not.toBe(earlier);
    expect(inBucket(TODAY)).toContain("request-of-erin");
    for (const [key, object] of before) expect(bucket.objects.get(key)).toBe(object);
  });

  it("tries again while the bucket is away, says so once, and tells since when it is behind", async () => {
    const copy = open({ everyMs: 1e6, retryMs: { first: 1, longest: 5 } });
    bucket.away = true;
    onDisk(TODAY, line("bob"));
    now += 60_000;
    copy.start();
    await expect.poll(() => copy.figures.failures).toBeGreaterThan(4);
    expect(copy.figures).toMatchObject({ ageMs: 60_000, puts: 0 });
    expect(problems).toEqual(["Error: ECONNREFUSED"]);
    append(TODAY, line("carol"));
    bucket.away = false;
    await expect.poll(() => problems).toEqual(["Error: ECONNREFUSED", null]);
    expect(inBucket(TODAY)).toBe(line("bob") + line("carol"));
    expect(copy.figures).toMatchObject({ ageMs: 0, puts: 1 });
    await copy.close(1000);
  });

  it("tells of files that went from the disk before the bucket had them", async () => {
    const copy = open();
    onDisk(OLD, line("alice"));
    await copy.copy();
    append(OLD, line("bob"));
    bucket.away = true;
    await copy.copy();
    rmSync(join(directory, OLD));
    await copy.copy();
    expect(lost).toEqual([OLD]);
  });

  it("keeps no entry waiting, and takes the last ones at the stop", async () => {
    const log = logWith(open());
    bucket.hangs = true;
    log.write(entry("alice"));
    expect((await log.recent(1)).map(({ subject }) => subject)).toEqual(["alice"]);
    bucket.hangs = false;
    log.write(entry("bob"));
    await log.close();
    expect(inBucket(TODAY)).toBe(line("alice") + line("bob"));
    expect(bucket.closed).toBe(true);
  });

  it("does not keep a stop waiting for a bucket that does not answer", async () => {
    const log = logWith(open());
    log.write(entry("alice"));
    bucket.hangs = true;
    await log.close(10);
    expect(bucket.objects.size).toBe(0);
    expect(problems).toEqual([expect.stringContaining("the service stops")]);
    bucket.hangs = bucket.closed = false;
    await open().copy();
    expect(inBucket(TODAY)).toBe(line("alice"));
  });
});

describe.each(["anonymous", "remove"] as const)("an erasure (%s)", (policy) => {
  const gone = (text: string | null) => expect(text).not.toContain("of-alice");

  it("reaches files on the disk, objects whose file is gone, and those of other hosts", async () => {
    onDisk(OLD, line("alice") + line("bob"));
    onDisk(TODAY, line("alice"));
    const log = logWith(open());
    await log.close();
    const kept = logWith(open());
    bucket.closed = false;
    rmSync(join(directory, OLD));
    const others = `audit/other.${"x".repeat(21)}/${OLD}`;
    bucket.set(others, line("carol") + line("alice") + line("alice"));
    bucket.set(`audit/other.${"x".repeat(21)}/${TODAY}`, line("carol"));
    bucket.set("audit/readme.txt", line("alice"));
    puts();
    const report = await kept.erase(ALICE, policy);
    expect(report).toEqual({
      entries: 1,
      copy: { entries: 3, late: 0, unread: 0, problem: null, versioned: false },
    });
    expect(puts()).toEqual([TODAY, OLD, OLD]);
    for (const text of [inBucket(OLD), inBucket(TODAY), bucket.text(others)]) gone(text);
    expect(inBucket(TODAY)).toBe(readFileSync(join(directory, TODAY), "utf8"));
    expect(inBucket(OLD)?.endsWith(line("bob"))).toBe(true);
    expect(bucket.text(others)?.startsWith(line("carol"))).toBe(true);
    expect(bucket.text("audit/readme.txt")).toBe(line("alice"));
    expect((await kept.erase(ALICE, policy)).copy).toMatchObject({ entries: 0 });
    await kept.close();
    expect(puts()).toEqual([]);
  });

  it("says what the bucket did not take, and that is made up for, also after a kill", async () => {
    onDisk(OLD, line("alice"));
    onDisk(TODAY, line("bob"));
    const copy = open();
    await copy.copy();
    puts();
    bucket.away = true;
    const report = await logWith(copy).erase(ALICE, policy);
    expect(report).toEqual({
      entries: 1,
      copy: { entries: 0, late: 1, unread: null, problem: "Error: ECONNREFUSED", versioned: false },
    });
    bucket.away = false;
    // Of the old length, as it may come about.
    const bytes = Buffer.byteLength(line("alice"));
    append(OLD, "\n".repeat(Math.max(0, bytes - readFileSync(join(directory, OLD)).length)));
    await open().copy();
    gone(inBucket(OLD));
    expect(puts()).toEqual([OLD, TODAY]);
    await open().copy();
    expect(puts()).toEqual([]);
  });

  it("is made up for by the process that was asked, as soon as the bucket is back", async () => {
    onDisk(OLD, line("alice"));
    const copy = open();
    await copy.copy();
    bucket.away = true;
    await logWith(copy).erase(ALICE, policy);
    gone(readFileSync(join(directory, OLD), "utf8"));
    expect(inBucket(OLD)).toBe(line("alice"));
    bucket.away = false;
    expect(await copy.copy()).toBe(true);
    gone(inBucket(OLD));
  });
});

describe("an erasure in the bucket", () => {
  const OTHER = `audit/other.${"x".repeat(21)}`;

  it("does not undo what another host puts meanwhile", async () => {
    const key = `${OTHER}/${TODAY}`;
    bucket.set(key, line("alice"));
    let puts = 0;
    bucket.beforeMatch = () => {
      puts += 1;
      if (puts === 1) bucket.set(key, line("alice") + line("bob"));
    };
    const report = await logWith(open()).erase(ALICE, "remove");
    expect(report.copy).toMatchObject({ entries: 1, unread: 0 });
    expect(bucket.text(key)).toBe(line("bob"));
  });

  it("tells of objects that cannot be rewritten safely, and goes on with the others", async () => {
    bucket.set(`${OTHER}/${OLD}`, line("alice"));
    bucket.set(`${OTHER}/${TODAY}`, line("bob"));
    bucket.conditions = false;
    const report = await logWith(open()).erase(ALICE, "remove");
    expect(report.copy).toMatchObject({ entries: 0, unread: 1, problem: "Error: NotImplemented: If-Match" });
    expect(bucket.text(`${OTHER}/${OLD}`)).toBe(line("alice"));
  });

  it("that ran out of time says so, and goes on where it was when it is asked again", async () => {
    const keys = [1, 2, 3, 4].map((number) => `${OTHER}/audit-2026-11-20.${number}.jsonl`);
    for (const key of keys) bucket.set(key, line("alice"));
    let patience = new AbortController();
    const log = logWith(open({ patience: () => patience.signal }));
    bucket.beforeOpen = (key) => {
      if (key === keys[2]) patience.abort(new Error("out of patience"));
    };
    const first = await log.erase(ALICE, "remove");
    expect(first.copy).toMatchObject({
      entries: 2,
      unread: null,
      problem: "Error: out of patience",
    });
    expect(new Set(bucket.opened.splice(0))).toEqual(new Set(keys.slice(0, 2)));
    patience = new AbortController();
    bucket.beforeOpen = () => {};
    const second = await log.erase(ALICE, "remove");
    expect(second.copy).toMatchObject({ entries: 2, unread: 0 });
    expect(new Set(bucket.opened)).toEqual(new Set(keys.slice(2)));
    for (const key of keys) expect(bucket.text(key)).toBe("");
    await log.close();
  });

  it("says when the bucket keeps earlier versions", async () => {
    onDisk(OLD, line("alice"));
    const copy = open();
    await copy.copy();
    bucket.versioned = true;
    expect((await logWith(copy).erase(ALICE, "remove")).copy).toMatchObject({ versioned: true });
  });

  it("does not wait for a put that hangs, and the interrupted one is no failure", async () => {
    onDisk(OLD, line("alice"));
    const copy = open();
    bucket.hangs = true;
    const first = copy.copy();
    const log = logWith(copy);
    const erased = log.erase(ALICE, "remove");
    bucket.hangs = false;
    expect(await first).toBe(false);
    expect((await erased).copy).toMatchObject({ late: 0 });
    expect(inBucket(OLD)).toBe("");
    expect(problems).toEqual([]);
    await log.close();
  });

  it("of two users at once is one after the other", async () => {
    onDisk(OLD, line("alice") + line("bob") + line("carol"));
    const log = logWith(open());
    const reports = await Promise.all([
      log.erase(ALICE, "remove"),
      log.erase({ tenant: "jwt-t", user: "bob" }, "remove"),
    ]);
    expect(reports.map(({ entries }) => entries)).toEqual([1, 1]);
    expect(inBucket(OLD)).toBe(line("carol"));
    expect(readdirSync(directory).sort()).toEqual([OLD, "copy.json"]);
    await log.close();
  });
});
