import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import type { Principal } from "../../../gateway/server/auth/principal.ts";
import { type ExecFiles, prepareExecFiles } from "../../../gateway/server/execution/files/call-files.ts";
import { FileRef } from "../../../gateway/server/execution/files/lineage.ts";
import { type FileRecord, type FileStore, FileStoreError } from "../../../gateway/server/files/store.ts";
import { contentFiles, openStore, put, temporaryDirectory, text } from "../../support/files/store.ts";

const ALICE: Principal = { mode: "jwt", tenant: "acme", subject: "alice" };
const BOB: Principal = { mode: "jwt", tenant: "acme", subject: "bob" };
const LIMITS = { outputFilesMax: 3, fileMaxBytes: 1000, outputTotalBytes: 1500 };

const ref = (record: FileRecord, extra: object = {}) =>
  FileRef.parse({ id: record.id, storage_session_id: record.storageSessionId, name: record.name, ...extra });

async function prepared(store: FileStore, refs: readonly FileRef[], principal = ALICE) {
  const sessionId = newId();
  const result = await prepareExecFiles(store, { principal, sessionId, refs, limits: LIMITS });
  if (!result.ok) throw new Error(result.error);
  return { sessionId, files: result.files };
}

const leave = (files: ExecFiles, path: string, content: string, change: "created" | "modified" = "created") =>
  files.outputs.accept(
    { path, size: content.length, change },
    Readable.from([Buffer.from(content)], { objectMode: false }),
  );

const NOTHING_LEFT = { paths: [], counts: {} };
const NOTHING = {
  inputs: { unchanged: [], modified: [], deleted: [] },
  undelivered: [],
  leftBehind: NOTHING_LEFT,
  takenBack: false,
};

describe("references", () => {
  it("become inputs with their content", async () => {
    const store = await openStore();
    const record = await put(store, "1,2,3", { owner: "acme:user:alice", name: "d/a.csv", readOnly: true });
    const { files } = await prepared(store, [ref(record)]);
    expect(files.inputs).toMatchObject([{ path: "d/a.csv", size: 5, readOnly: true }]);
    expect(await text(files.inputs[0]?.open() ?? null)).toBe("1,2,3");
  });

  it("unknown, expired and foreign ones are refused alike", async () => {
    const store = await openStore();
    const alices = await put(store, "x", { owner: "acme:user:alice" });
    const agents = await put(store, "x", { owner: "acme:agent:a1", kind: "agent", resourceId: "a1" });
    const attempt = (principal: Principal, refs: readonly FileRef[]) =>
      prepareExecFiles(store, { principal, sessionId: newId(), refs, limits: LIMITS });
    const refused = { ok: false, status: 403, error: "Unauthorized file reference" };

    expect(await attempt(BOB, [ref(alices)])).toEqual(refused);
    expect(await attempt(BOB, [ref(alices, { kind: "user", resource_id: "alice" })])).toEqual(refused);
    expect(await attempt(ALICE, [ref(alices), ref({ ...alices, id: newId() }, {})])).toEqual(refused);
    expect(await attempt(ALICE, [ref({ ...alices, storageSessionId: newId() })])).toEqual(refused);
    expect(await attempt(BOB, [ref(agents, { kind: "agent", resource_id: "a2" })])).toEqual(refused);
    expect(await attempt(BOB, [ref(agents, { kind: "agent", resource_id: "a1" })])).toMatchObject({
      ok: true,
    });
  });
});

describe("several references of one name", () => {
  const mine = { owner: "acme:user:alice", name: "data.csv" };
  /** A store whose clock the test turns: files of one millisecond have no order. */
  const stored = async (...contents: readonly string[]) => {
    let now = Date.parse("2026-11-25T10:00:00Z");
    const store = await openStore({ now: () => now });
    const records: FileRecord[] = [];
    for (const content of contents) {
      now += 1000;
      records.push(await put(store, content, mine));
    }
    return { store, refs: records.map((record) => ref(record)) };
  };
  const content = async (files: ExecFiles) => text(files.inputs[0]?.open() ?? null);

  it("mean the newest stored file, whatever their order, and one line names the others", async () => {
    const { store, refs } = await stored("first", "second", "third");
    const [first, second, third] = refs.map(({ id }) => id);
    for (const order of [refs, refs.toReversed(), [...refs.slice(2), ...refs.slice(0, 2)]]) {
      const { files } = await prepared(store, order);
      expect(files.inputs).toHaveLength(1);
      expect(await content(files)).toBe("third");
      expect(files.notes).toEqual([
        `data.csv was sent 3 times: the newest (${third} of 2026-11-25T10:00:03.000Z) is used, not ${second} of 2026-11-25T10:00:02.000Z, ${first} of 2026-11-25T10:00:01.000Z.`,
      ]);
    }
  });

  it("are no several when they are the same file", async () => {
    const { store, refs } = await stored("only");
    const { files } = await prepared(store, [...refs, ...refs]);
    expect(files.notes).toEqual([]);
    expect((await files.settle(NOTHING)).files).toHaveLength(1);
  });

  it("are counted where they are too many to name", async () => {
    const { store, refs } = await stored("1", "2", "3", "4", "5", "6");
    const { files } = await prepared(store, refs);
    expect(files.notes).toEqual([expect.stringMatching(/^data\.csv was sent 6 times: .* and 2 more\.$/)]);
  });

  it("are refused with any that the caller may not use, also where it would not have won", async () => {
    const { store, refs } = await stored("mine");
    const foreign = await put(store, "theirs", { ...mine, owner: "acme:user:bob" });
    for (const order of [
      [...refs, ref(foreign)],
      [ref(foreign), ...refs],
    ]) {
      await expect(prepared(store, order)).rejects.toThrow("Unauthorized file reference");
    }
  });

  it("are echoed as the request named the one that won", async () => {
    const { store, refs } = await stored("old", "new");
    const { files } = await prepared(store, refs);
    const [{ id } = { id: "" }] = refs.slice(-1);
    expect((await files.settle(NOTHING)).files).toEqual([expect.objectContaining({ id, inherited: true })]);
  });
});

describe("after the run", () => {
  it("outputs are the user's, and the session lists them beside its inputs", async () => {
    const store = await openStore();
    const agents = await put(store, "x", { owner: "acme:agent:a1", kind: "agent", name: "in.txt" });
    const { sessionId, files } = await prepared(store, [ref(agents, { kind: "agent", resource_id: "a1" })]);
    await leave(files, "plots/日本.png", "png");
    const reply = await files.settle(NOTHING);

    expect(reply.files.map(({ name, inherited }) => ({ name, inherited }))).toEqual([
      { name: "plots/日本.png", inherited: undefined },
      { name: "in.txt", inherited: true },
    ]);
    const listed = await store.list(sessionId);
    expect(listed.map(({ name, owner }) => ({ name, owner }))).toEqual([
      { name: "in.txt", owner: "acme:user:alice" },
      { name: "plots/日本.png", owner: "acme:user:alice" },
    ]);
    expect(listed[1]?.record).toMatchObject({ contentType: "image/png", kind: "user", size: 3 });
  });

  it("an older client reaches a linked input through the execution's session", async () => {
    const store = await openStore();
    const agents = await put(store, "x", { owner: "acme:agent:a1", kind: "agent", name: "in.txt" });
    const first = await prepared(store, [ref(agents, { kind: "agent", resource_id: "a1" })]);
    await first.files.settle(NOTHING);
    const again = FileRef.parse({ id: agents.id, session_id: first.sessionId, name: "in.txt" });
    const second = await prepared(store, [again]);
    expect(second.files.inputs).toMatchObject([{ path: "in.txt", size: 1 }]);
    expect((await second.files.settle(NOTHING)).files).toEqual([]);
    expect((await store.list(second.sessionId)).map(({ name }) => name)).toEqual(["in.txt"]);
    await expect(prepared(store, [again], BOB)).rejects.toThrow("Unauthorized file reference");
  });

  it("a changed input is a new file, the same bytes are not, and read-only ones never are", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    const mine = { owner: "acme:user:alice" };
    const changed = await put(store, "old", { ...mine, name: "changed.txt" });
    const touched = await put(store, "same", { ...mine, name: "touched.txt" });
    const skill = await put(store, "fixed", { ...mine, name: "skill.py", readOnly: true });
    const { sessionId, files } = await prepared(store, [ref(changed), ref(touched), ref(skill)]);
    await leave(files, "changed.txt", "new", "modified");
    await leave(files, "touched.txt", "same", "modified");
    await leave(files, "skill.py", "patched", "modified");
    const reply = await files.settle({
      inputs: { unchanged: [], modified: ["changed.txt", "touched.txt", "skill.py"], deleted: [] },
      undelivered: [],
      leftBehind: NOTHING_LEFT,
      takenBack: false,
    });
    expect(reply.artifact_delivery).toBeUndefined();

    expect(reply.files).toEqual([
      expect.objectContaining({
        name: "changed.txt",
        storage_session_id: sessionId,
        modified_from: {
          id: changed.id,
          storage_session_id: changed.storageSessionId,
          session_id: changed.storageSessionId,
        },
      }),
      expect.objectContaining({ id: touched.id, inherited: true }),
      expect.objectContaining({ id: skill.id, inherited: true }),
    ]);
    expect(await contentFiles(directory)).toHaveLength(4);
    expect((await store.list(sessionId)).map(({ name }) => name)).toEqual([
      "skill.py",
      "touched.txt",
      "changed.txt",
    ]);
  });

  it("two paths with one normalised name are both kept", async () => {
    const { files } = await prepared(await openStore(), []);
    await leave(files, "e\u0301.tar", "1");
    await leave(files, "\u00e9.tar", "2");
    expect((await files.settle(NOTHING)).files.map(({ name }) => name)).toEqual([
      "\u00e9.tar",
      "\u00e9 (2).tar",
    ]);
  });

  it("a sandbox that lies about limits is held to them", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    const { files } = await prepared(store, []);
    await leave(files, "a", "x".repeat(900));
    await expect(leave(files, "a", "y")).rejects.toThrow("announced twice");
    await expect(leave(files, "b", "x".repeat(1001))).rejects.toMatchObject({ code: "too_large" });
    await expect(leave(files, "c", "x".repeat(601))).rejects.toMatchObject({ code: "too_large" });
    await expect(leave(files, "../up", "x")).rejects.toThrow("cannot be kept");
    await leave(files, "d", "");
    await leave(files, "e", "");
    await expect(leave(files, "f", "")).rejects.toThrow("more than 3 files");
    const reply = await files.settle({
      ...NOTHING,
      undelivered: ["a", "b", "c", "../up"].map((path) => ({ path })),
      leftBehind: { paths: ["f"], counts: { size: 1 } },
    });
    expect(reply.artifact_delivery).toMatchObject({ status: "partial", attempted: 8, delivered: 3 });
    expect(reply.artifact_truncation).toMatchObject({ reasons: { size: 1 }, skipped: ["f"] });
    expect(await contentFiles(directory)).toHaveLength(3);
  });

  it("what the sandbox took back is not kept: the next call brings it", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    const { sessionId, files } = await prepared(store, []);
    await leave(files, "made.txt", "twice");
    expect(await files.settle({ ...NOTHING, takenBack: true })).toEqual({ files: [] });
    expect(await store.list(sessionId)).toEqual([]);
    expect(await contentFiles(directory)).toEqual([]);
  });

  it("a disk that fills up costs the files and not the reply", async () => {
    const store = await openStore();
    const { files } = await prepared(store, []);
    await leave(files, "a", "x");
    const full = new FileStoreError("storage_full", "no space left");
    store.commit = () => Promise.reject(full);
    store.link = () => Promise.reject(full);
    expect(await files.settle(NOTHING)).toEqual({
      files: [],
      artifact_delivery: {
        code: "artifact_delivery_failed",
        status: "failed",
        attempted: 1,
        delivered: 0,
        failed: 1,
      },
    });
  });

  it("a call that came to nothing leaves nothing", async () => {
    const directory = await temporaryDirectory();
    const { files } = await prepared(await openStore({ directory }), []);
    await leave(files, "a", "x");
    await files.discard();
    expect(await contentFiles(directory)).toEqual([]);
  });
});
