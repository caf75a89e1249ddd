/** The audit log's files: appended to, bounded, and removed in time. */
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { AuditEntry } from "../../../gateway/server/audit/entry.ts";
import { AuditLog } from "../../../gateway/server/audit/log.ts";

const DAY_MS = 86_400_000;
const KIB = 1024;

let directory: string;
let now: number;
let problems: (string | null)[];

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "ky-audit-")), "audit");
  now = Date.UTC(2026, 10, 26, 12);
  problems = [];
  return () => rmSync(join(directory, ".."), { recursive: true, force: true });
});

const open = (maxBytes = 16 * 64 * KIB, keepDays = 2) =>
  new AuditLog({ directory, keepDays, maxBytes, now: () => now, onProblem: (one) => problems.push(one) });

const entry = (request: string): AuditEntry => ({
  time: new Date(now).toISOString(),
  host: "host",
  request,
  tenant: "default",
  subject: "-",
  auth: "api-key",
  action: "execute",
  status: 200,
  error: null,
  duration_ms: 1,
  session: "s",
  language: "py",
  code_bytes: 1,
  code_sha256: "0".repeat(64),
  outcome: "finished",
  reason: null,
  image: null,
  inputs: null,
  outputs: null,
});

const requests = (name: string) =>
  readFileSync(join(directory, name), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => AuditEntry.parse(JSON.parse(line)).request);

describe("the audit log", () => {
  it("keeps entries in order, in a file that only its user can read", async () => {
    const log = open();
    for (let i = 0; i < 100; i += 1) log.write(entry(`r${i}`));
    await log.close();
    expect(readdirSync(directory)).toEqual(["audit-2026-11-26.1.jsonl"]);
    expect(requests("audit-2026-11-26.1.jsonl")).toEqual(Array.from({ length: 100 }, (_, i) => `r${i}`));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, "audit-2026-11-26.1.jsonl")).mode & 0o777).toBe(0o600);
  });

  it("goes on after a process that was killed within a line", async () => {
    const first = open();
    first.write(entry("one"));
    await first.close();
    const name = "audit-2026-11-26.1.jsonl";
    appendFileSync(join(directory, name), '{"time":"2026');
    const second = open();
    second.write(entry("two"));
    await second.close();
    const lines = readFileSync(join(directory, name), "utf8").split("\n");
    expect(lines.filter((line) => line.includes('"request":"two"'))).toEqual([JSON.stringify(entry("two"))]);
    expect(lines[0]).toBe(JSON.stringify(entry("one")));
  });

  it("begins a new file with a new day and when one is full", async () => {
    const log = open(16 * KIB);
    log.write(entry("a"));
    await log.close();
    for (let i = 0; i < 4; i += 1) {
      log.write(entry(`b${i}`));
      await log.close();
    }
    now += DAY_MS;
    log.write(entry("c"));
    await log.close();
    const names = readdirSync(directory).sort();
    expect(names).toEqual([
      "audit-2026-11-26.1.jsonl",
      "audit-2026-11-26.2.jsonl",
      "audit-2026-11-27.1.jsonl",
    ]);
    expect(names.flatMap(requests)).toEqual(["a", "b0", "b1", "b2", "b3", "c"]);
  });

  it("removes what is older than its days, and nothing else", async () => {
    const log = open();
    writeFileSync(join(directory, "audit-2026-11-23.1.jsonl"), "old\n");
    writeFileSync(join(directory, "audit-2026-11-24.1.jsonl"), "kept\n");
    writeFileSync(join(directory, "notes.txt"), "not ours\n");
    log.write(entry("a"));
    await log.close();
    expect(readdirSync(directory).sort()).toEqual([
      "audit-2026-11-24.1.jsonl",
      "audit-2026-11-26.1.jsonl",
      "notes.txt",
    ]);
    expect(problems).toEqual([]);
  });

  it("removes the oldest before their time when all are too large, and says so", async () => {
    const log = open(16 * KIB);
    writeFileSync(join(directory, "audit-2026-11-25.1.jsonl"), "x".repeat(8 * KIB));
    writeFileSync(join(directory, "audit-2026-11-25.2.jsonl"), "x".repeat(8 * KIB));
    log.write(entry("a"));
    await log.close();
    expect(readdirSync(directory).sort()).toEqual(["audit-2026-11-25.2.jsonl", "audit-2026-11-26.1.jsonl"]);
    expect(problems).toEqual([
      "audit-2026-11-25.1.jsonl was removed before its time: KERNELYARD_AUDIT_BYTES is used up",
    ]);
  });

  it("loses entries that the disk refuses, counts them, and goes on when it works again", async () => {
    const log = open();
    rmSync(directory, { recursive: true });
    log.write(entry("lost"));
    await log.close();
    expect(log.lost).toBe(1);
    expect(problems).toEqual([expect.stringContaining("entries of the audit log are lost")]);
    open();
    log.write(entry("kept"));
    await log.close();
    expect(requests("audit-2026-11-26.1.jsonl")).toEqual(["kept"]);
    expect(problems.at(-1)).toBeNull();
  });

  it("holds no more than its bound while the disk is slow", async () => {
    const log = open(1024 * KIB * KIB);
    for (let i = 0; i < 20_000; i += 1) log.write(entry(`r${i}`));
    await log.close();
    expect(log.lost).toBeGreaterThan(0);
    const kept = requests("audit-2026-11-26.1.jsonl");
    expect(kept.length + log.lost).toBe(20_000);
  });
});

it("gives its last entries, newest first, of several files and past half a line", async () => {
  const log = open();
  for (const request of ["a", "b"]) log.write(entry(request));
  await log.close();
  const [name = ""] = readdirSync(directory);
  appendFileSync(join(directory, name), '{"time":"half');
  now += DAY_MS;
  const next = open();
  next.write(entry("c"));
  expect((await next.recent(10)).map(({ request }) => request)).toEqual(["c", "b", "a"]);
  expect((await next.recent(2)).map(({ request }) => request)).toEqual(["c", "b"]);
  await next.close();
});
