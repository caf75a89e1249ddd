/** What is left of whom is erased: in the records, in the audit log, among session names. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sessionOf, volumeName } from "../../../gateway/launcher/engine/labels.ts";
import { AuditLog } from "../../../gateway/server/audit/log.ts";
import { userPrincipal } from "../../../gateway/server/auth/principal.ts";
import { filesOf } from "../../../gateway/server/erasure/erasure.ts";
import { DiskFileStore } from "../../../gateway/server/files/disk/store.ts";
import {
  fileCaller,
  fileHolder,
  ownerKey,
  type ResourceClaim,
  USER_CLAIM,
} from "../../../gateway/server/files/ownership.ts";
import { entry as auditEntry } from "../../support/audit-entries.ts";

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "ky-erase-"));
});
afterEach(() => rmSync(place, { recursive: true }));

const AGENT: ResourceClaim = { kind: "agent", id: "a1", version: null };

async function store() {
  const opened = await DiskFileStore.open({
    directory: place,
    ttlMs: 1e9,
    sweepEveryMs: 1e9,
    onSweepError: () => {},
  });
  const put = async (tenant: string, user: string, name: string, claim = USER_CLAIM) => {
    const principal = userPrincipal(tenant, user);
    const holder = fileHolder(principal);
    const bytes = async function* () {
      yield Buffer.from(`content of ${name}`);
    };
    const staged = await opened.stage(bytes(), { maxBytes: 1e6, holder });
    const owner = ownerKey(fileCaller(principal), claim);
    const file = { storageSessionId: "s".repeat(21), name, contentType: "t", owner, kind: claim.kind };
    await opened.commit([
      {
        staged,
        file: { ...file, resourceId: claim.id, version: null, readOnly: false, storedBy: holder.key },
      },
    ]);
    return staged.id;
  };
  const names = async () => (await opened.list("s".repeat(21))).map(({ name }) => name).sort();
  return { opened, put, names };
}

it("a user's files go with their names and bytes; what they gave an agent stays, on nobody's account, or goes as well", async () => {
  const { names, opened, put } = await store();
  await put("jwt-t", "alice", "alices-secret-name");
  await put("jwt-t", "alice", "for-the-agent", AGENT);
  const bobs = await put("jwt-t", "bob", "bobs");
  await opened.link([{ sessionId: "x".repeat(21), fileId: bobs, owner: "jwt-t:user:alice", name: "seen" }]);
  const subject = { tenant: "jwt-t", user: "alice" };
  expect(await opened.erase(filesOf(subject, false))).toMatchObject({ files: 1, links: 1, kept: 1 });
  expect(await names()).toEqual(["bobs", "for-the-agent"]);
  expect(await opened.usage(fileHolder(userPrincipal("jwt-t", "alice")).key)).toEqual({ bytes: 0, files: 0 });
  expect((await opened.usage(null)).files).toBe(2);
  for (const name of readdirSync(place).filter((entry) => entry.startsWith("records"))) {
    expect(readFileSync(join(place, name), "latin1")).not.toContain("alices-secret-name");
  }
  await put("jwt-t", "alice", "again", AGENT);
  expect(await opened.erase(filesOf(subject, true))).toMatchObject({ files: 1, kept: 0 });
  expect(await opened.erase(filesOf(subject, true))).toEqual({ files: 0, bytes: 0, links: 0, kept: 0 });
  await opened.close();
});

it("a tenant's files go, and not those of one whose name begins alike", async () => {
  const { names, opened, put } = await store();
  await put("jwt-t", "alice", "one");
  await put("jwt-t", "bob", "agents", AGENT);
  await put("jwt-t2", "alice", "other");
  expect(await opened.erase(filesOf({ tenant: "jwt-t", user: null }, false))).toMatchObject({ files: 2 });
  expect(await names()).toEqual(["other"]);
  await opened.close();
});

it.each(["anonymous", "remove"] as const)("entries of the audit log: %s", async (policy) => {
  const log = new AuditLog({
    directory: place,
    keepDays: 9,
    maxBytes: 1e9,
    now: Date.now,
    onProblem: () => {},
  });
  const entry = (subject: string, tenant = "jwt-t") =>
    auditEntry(subject, { tenant, inputs: { count: 1, ids: [`file-of-${subject}`] } });
  for (const subject of ["alice", "bob"]) log.write(entry(subject));
  log.write(entry("alice", "jwt-other"));
  const erased = log.erase({ tenant: "jwt-t", user: "alice" }, policy);
  log.write(entry("carol"));
  expect(await erased).toEqual({ entries: 1, copy: null });
  await log.close();
  const [name = "", ...more] = readdirSync(place);
  expect(more).toEqual([]);
  const text = readFileSync(join(place, name), "utf8");
  const lines = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const subjects = lines.map(({ subject, tenant }) => `${tenant} ${subject}`);
  const anonymous = policy === "anonymous" ? ["jwt-t erased"] : [];
  expect(subjects).toEqual([...anonymous, "jwt-t bob", "jwt-other alice", "jwt-t carol"]);
  expect(text.split("of-alice").length - 1).toBe(4);
});

it("a volume's name says which session has it, and no other name does", () => {
  const keys = [
    { kind: "named", tenant: "default", name: "a.b_c" },
    { kind: "named", tenant: "team-a", name: "x.y" },
    { kind: "runtime", digest: "AbcdefghijklmnopqrstU" },
  ] as const;
  for (const key of keys) expect(sessionOf(volumeName(key))).toEqual(key);
  for (const name of ["other", "librechat_vol_", "librechat_vol__short", "librechat_vol_-x"])
    expect(sessionOf(name)).toBeNull();
});
