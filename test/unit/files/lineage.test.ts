import { describe, expect, it } from "vitest";
import {
  FileRef,
  type LineageFacts,
  planInputs,
  traceLineage,
} from "../../../gateway/server/execution/files/lineage.ts";

const id = (letter: string): string => letter.repeat(21);
const SESSION = id("S");

describe("a reference", () => {
  it("is read in both generations", () => {
    const gen2 = {
      id: id("f"),
      resource_id: "skill-1",
      name: "skills/x.py",
      storage_session_id: id("s"),
      kind: "skill",
      version: 7,
      unknown: true,
    };
    expect(FileRef.parse(gen2)).toEqual({
      id: id("f"),
      storageSessionId: id("s"),
      name: "skills/x.py",
      generation: 2,
      claim: { kind: "skill", id: "skill-1", version: 7 },
      identity: { kind: "skill", resource_id: "skill-1", version: 7 },
    });
    expect(FileRef.parse({ id: id("f"), session_id: id("s"), name: "in.txt" })).toEqual({
      id: id("f"),
      storageSessionId: id("s"),
      name: "in.txt",
      generation: 1,
      claim: { kind: "user", id: null, version: null },
      identity: {},
    });
  });

  it.each([
    [{ id: "short", session_id: id("s"), name: "x" }, "id"],
    [{ id: id("f"), name: "x" }, "storage_session_id"],
    [{ id: id("f"), session_id: "../../etc", name: "x" }, "session_id"],
    [{ id: id("f"), session_id: id("s"), name: "" }, "name"],
    [{ id: id("f"), session_id: id("s"), name: "x", kind: "admin" }, "kind"],
    [{ id: id("f"), session_id: id("s"), name: "x", kind: "skill", resource_id: "s" }, "kind"],
  ])("%j is refused for its %s", (ref, field) => {
    const result = FileRef.safeParse(ref);
    expect(result.error?.issues[0]?.path[0]).toBe(field);
  });
});

describe("destinations", () => {
  const ref = (letter: string, name: string) => FileRef.parse({ id: id(letter), session_id: id("s"), name });
  const plan = (...refs: FileRef[]) => planInputs(refs);

  it("are the normalised names, each with all references that want it", () => {
    expect(plan(ref("a", "x.txt"), ref("b", "e\u0301"), ref("c", "x.txt"), ref("d", "\u00e9"))).toEqual({
      ok: true,
      inputs: [
        { path: "x.txt", refs: [ref("a", "x.txt"), ref("c", "x.txt")] },
        { path: "\u00e9", refs: [ref("b", "e\u0301"), ref("d", "\u00e9")] },
      ],
    });
  });

  it.each([
    [["data", "data/x.csv"], '"data" cannot be a file and the directory of "data/x.csv"'],
    [["a/b/c/d", "a/b"], '"a/b" cannot be a file and the directory of "a/b/c/d"'],
    [["ok", "../up"], "files[1].name is invalid"],
    [["/abs"], "files[0].name is invalid"],
  ])("%j are refused", (names, error) => {
    expect(plan(...names.map((name) => ref("a", name)))).toEqual({
      ok: false,
      error: expect.stringContaining(error),
    });
  });

  it("may share a prefix that is no directory", () => {
    expect(plan(ref("a", "data"), ref("b", "data2/x"), ref("c", "data.csv"))).toMatchObject({ ok: true });
  });
});

describe("the reply", () => {
  const input = (letter: string, name: string, extra: object = {}, readOnly = false) => ({
    ref: FileRef.parse({ id: id(letter), storage_session_id: id("s"), name, ...extra }),
    path: name,
    readOnly,
  });
  const trace = (facts: Partial<LineageFacts>) =>
    traceLineage({
      sessionId: SESSION,
      inputs: [],
      fates: { unchanged: [], modified: [], deleted: [] },
      outputs: [],
      undelivered: 0,
      leftBehind: { paths: [], counts: {} },
      ...facts,
    });
  const origin = (letter: string) => ({
    id: id(letter),
    storage_session_id: id("s"),
    session_id: id("s"),
  });
  const output = (letter: string, path: string) => ({ id: id(letter), path, name: path });
  const made = (letter: string, name: string) => ({
    id: id(letter),
    name,
    storage_session_id: SESSION,
    session_id: SESSION,
  });

  it("names nothing when there was nothing", () => {
    expect(trace({})).toEqual({ files: [] });
  });

  it("gives unchanged inputs back as the request named them", () => {
    const agent = { kind: "agent", resource_id: "a1" };
    expect(trace({ inputs: [input("a", "in.txt", agent), input("b", "old.txt")] }).files).toEqual([
      { ...origin("a"), name: "in.txt", inherited: true, ...agent },
      { ...origin("b"), name: "old.txt", inherited: true },
    ]);
  });

  it("gives clients of the first generation no unchanged inputs back: they would attach them again", () => {
    const old = (letter: string, name: string) => ({
      ref: FileRef.parse({ id: id(letter), session_id: id("s"), name }),
      path: name,
      readOnly: false,
    });
    const inputs = [old("a", "same.txt"), old("b", "changed.txt"), old("c", "gone.txt")];
    const fates = { unchanged: ["same.txt"], modified: ["changed.txt"], deleted: ["gone.txt"] };
    const outputs = [output("d", "changed.txt"), output("e", "new.png")];
    expect(trace({ inputs, fates, outputs })).toEqual({
      files: [{ ...made("d", "changed.txt"), modified_from: origin("b") }, made("e", "new.png")],
      deleted_files: ["gone.txt"],
    });
    // One reference of the second generation is enough to know the client.
    expect(trace({ inputs: [...inputs, input("f", "new.txt")], fates, outputs }).files).toHaveLength(4);
  });

  it("gives changed inputs new ids and their origin in both spellings, generated files first", () => {
    const reply = trace({
      inputs: [input("a", "same.txt"), input("b", "changed.txt")],
      fates: { unchanged: ["same.txt"], modified: ["changed.txt"], deleted: [] },
      outputs: [output("c", "changed.txt"), output("d", "new.png")],
    });
    expect(reply.files).toEqual([
      { ...made("c", "changed.txt"), modified_from: origin("b") },
      made("d", "new.png"),
      { ...origin("a"), name: "same.txt", inherited: true },
    ]);
  });

  it("names deleted inputs by the client's name and not among the files", () => {
    expect(
      trace({
        inputs: [input("a", "gone.txt")],
        fates: { unchanged: [], modified: [], deleted: ["gone.txt"] },
      }),
    ).toEqual({ files: [], deleted_files: ["gone.txt"] });
  });

  it("keeps read-only inputs inherited, changed and deleted ones too", () => {
    const skill = { kind: "skill", resource_id: "s1", version: 3 };
    const reply = trace({
      inputs: [input("a", "skills/a.py", skill, true), input("b", "skills/b.py", skill, true)],
      fates: { unchanged: [], modified: ["skills/a.py"], deleted: ["skills/b.py"] },
      outputs: [output("c", "skills/a.py")],
    });
    expect(reply).toEqual({
      files: [
        { ...origin("a"), name: "skills/a.py", inherited: true, ...skill },
        { ...origin("b"), name: "skills/b.py", inherited: true, ...skill },
      ],
    });
  });

  it("keeps every input when the sandbox ended before it could say", () => {
    const reply = trace({ inputs: [input("a", "in.txt")], fates: null, outputs: [output("b", "out.txt")] });
    expect(reply.files).toEqual([made("b", "out.txt"), { ...origin("a"), name: "in.txt", inherited: true }]);
  });

  it.each([
    [2, 1, { status: "partial", attempted: 3, delivered: 2, failed: 1 }],
    [0, 2, { status: "failed", attempted: 2, delivered: 0, failed: 2 }],
  ])("tells of %i files kept and %i lost", (kept, undelivered, delivery) => {
    const outputs = ["x", "y"].slice(0, kept).map((letter) => output(letter, letter));
    expect(trace({ outputs, undelivered }).artifact_delivery).toEqual({
      code: "artifact_delivery_failed",
      ...delivery,
    });
  });

  it("tells of files left behind by reason, and to older clients as files that were not delivered", () => {
    const paths = Array.from({ length: 300 }, (_, i) => `f${i}.csv`);
    const reply = trace({
      outputs: [output("x", "kept.csv")],
      undelivered: 1,
      leftBehind: { paths, counts: { max_files: 400, size: 2, depth: 0 } },
    });
    expect(reply.artifact_truncation).toEqual({
      code: "artifact_truncated",
      reasons: { max_files: 400, size: 2 },
      skipped: paths.slice(0, 20),
      skipped_count: 402,
    });
    expect(reply.artifact_delivery).toMatchObject({ attempted: 404, delivered: 1, failed: 403 });
  });

  it.each([
    ["more names than it counts", { paths: ["a", "b"], counts: { path: 1 } }, { skipped: ["a"] }],
    [
      "a name that breaks lines",
      { paths: ["a\nb\u001b[31m"], counts: { path: 1 } },
      { skipped: ["a_b_[31m"] },
    ],
    ["a name that is no path", { paths: ["../\n"], counts: { path: 1 } }, { skipped: ['"../\\n"'] }],
    ["a long name", { paths: ["x".repeat(4096)], counts: { path: 1 } }, { skipped: [`"${"x".repeat(255)}`] }],
  ])("a sandbox that sends %s is not repeated", (_, leftBehind, told) => {
    expect(trace({ leftBehind }).artifact_truncation).toMatchObject({ ...told, skipped_count: 1 });
  });

  it("says nothing where the counts say nothing or cannot be added up", () => {
    for (const counts of [{ size: 0 }, { size: Number.MAX_SAFE_INTEGER, path: 1 }]) {
      expect(trace({ leftBehind: { paths: ["x"], counts } })).toEqual({ files: [] });
    }
  });

  it("keeps the input when its changed copy was lost", () => {
    const reply = trace({
      inputs: [input("a", "in.txt")],
      fates: { unchanged: [], modified: ["in.txt"], deleted: [] },
      undelivered: 1,
    });
    expect(reply.files).toEqual([{ ...origin("a"), name: "in.txt", inherited: true }]);
    expect(reply.artifact_delivery?.status).toBe("failed");
  });
});
