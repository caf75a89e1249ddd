import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { z } from "@hono/zod-openapi";
import { describe, expect, it } from "vitest";
import { newId } from "../../../gateway/common/ids.ts";
import type { CallOutcome } from "../../../gateway/server/execution/call.ts";
import { FileStoreError } from "../../../gateway/server/files/store.ts";
import { type Caller, filesApp, uploadForm } from "../../support/files/app.ts";
import { contentFiles, openStore, temporaryDirectory } from "../../support/files/store.ts";
import { finished } from "../../support/finished.ts";

const ID = /^[A-Za-z0-9_-]{21}$/;
const Uploaded = z.object({
  message: z.string(),
  session_id: z.string().regex(ID),
  storage_session_id: z.string().regex(ID),
  files: z.array(
    z.looseObject({
      status: z.string().optional(),
      fileId: z.string().regex(ID).optional(),
      filename: z.string(),
    }),
  ),
});

async function upload(
  caller: Caller,
  fields: Record<string, string>,
  name = "a/b.txt",
  content: string | Buffer = "hello",
): Promise<{ sid: string; fid: string }> {
  const response = await caller("/v1/upload", uploadForm(fields, [name, content]));
  expect(response.status).toBe(200);
  const body = Uploaded.parse(await response.json());
  return { sid: body.storage_session_id, fid: body.files[0]?.fileId ?? "" };
}

async function json(response: Response | Promise<Response>): Promise<unknown> {
  return (await response).json();
}

describe("POST /upload", () => {
  it("answers with both generations' keys", async () => {
    const { as } = filesApp(await openStore());
    const response = await as("u@t")(
      "/v1/upload",
      uploadForm({ kind: "user", id: "u" }, ["dir/ünï 日本.txt", "x"]),
    );
    const body = Uploaded.parse(await response.json());
    expect(body).toEqual({
      message: "success",
      session_id: body.storage_session_id,
      storage_session_id: body.storage_session_id,
      files: [
        {
          fileId: body.files[0]?.fileId,
          id: body.files[0]?.fileId,
          filename: "dir/ünï 日本.txt",
          name: "dir/ünï 日本.txt",
        },
      ],
    });
  });

  it("needs neither kind nor a length, and serves both base paths with duplicate slashes", async () => {
    const { as } = filesApp(await openStore());
    const form = uploadForm({}, ["x.txt", "x"]);
    const chunked = new ReadableStream({
      start(controller) {
        controller.enqueue(form.body);
        controller.close();
      },
    });
    const paths = ["//upload", "/upload", "/v1//upload"];
    for (const path of paths) expect((await as("t")(path, form)).status).toBe(200);
    const response = await as("t")("/v1/upload", { ...form, body: chunked, duplex: "half" });
    expect(response.status).toBe(200);
  });

  it.each([
    [
      "no form",
      { method: "POST", headers: { "content-type": "application/json" }, body: "{}" },
      "multipart/form-data",
    ],
    ["no file", uploadForm({ kind: "user" }), "No files provided"],
    ["an unknown kind", uploadForm({ kind: "admin" }, ["a", "x"]), "kind must be one of: skill, agent, user"],
    ["a skill without version", uploadForm({ kind: "skill", id: "s" }, ["a", "x"]), "version must be"],
    ["a name that climbs", uploadForm({}, ["../../etc/passwd", "x"]), "Invalid file name"],
  ])("refuses %s with 400 and leaves nothing", async (_what, init, error) => {
    const directory = await temporaryDirectory();
    const { as } = filesApp(await openStore({ directory }));
    const response = await as("t")("/v1/upload", init);
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ error: expect.stringContaining(error) });
    expect(await contentFiles(directory)).toEqual([]);
  });

  it("refuses a file over the limit with the reference's words", async () => {
    const directory = await temporaryDirectory();
    const { as } = filesApp(await openStore({ directory }), { KERNELYARD_FILE_MAX_BYTES: "1k" });
    const response = await as("t")("/v1/upload", uploadForm({}, ["a", Buffer.alloc(1025)]));
    expect(response.status).toBe(413);
    expect(await json(response)).toMatchObject({ error: "File size limit exceeded" });
    expect((await as("t")("/v1/upload", uploadForm({}, ["a", Buffer.alloc(1024)]))).status).toBe(200);
    expect(await contentFiles(directory)).toHaveLength(1);
  });

  it("says when the disk is full", async () => {
    const store = await openStore();
    store.stage = () => Promise.reject(new FileStoreError("storage_full", "no space left for files"));
    const response = await filesApp(store).as("t")("/v1/upload", uploadForm({}, ["a", "x"]));
    expect(response.status).toBe(507);
    expect(await json(response)).toMatchObject({ error: "storage_full", message: "no space left for files" });
  });

  it("says that the service is shutting down, as every route does that needs the store", async () => {
    const store = await openStore();
    const caller = filesApp(store).as("t");
    const { sid, fid } = await upload(caller, {});
    await store.close();
    const files = [{ id: fid, session_id: sid, name: "a" }];
    const requests: [string, RequestInit][] = [
      ["/upload", uploadForm({}, ["a", "x"])],
      ["/upload/batch", uploadForm({}, ["a", "x"])],
      [`/download/${sid}/${fid}`, {}],
      [`/files/${sid}`, {}],
      [`/sessions/${sid}/objects/${fid}`, { method: "DELETE" }],
      ["/exec", { method: "POST", body: JSON.stringify({ lang: "py", code: "", files }) }],
    ];
    for (const [path, init] of requests) {
      const response = await caller(path, init);
      expect([path, response.status]).toEqual([path, 503]);
      expect(await json(response)).toMatchObject({
        error: "Service is shutting down",
        code: "shutting_down",
      });
    }
  });

  it("asks who is calling before it reads", async () => {
    const { app } = filesApp(await openStore());
    expect((await app.request("/v1/upload", uploadForm({}, ["a", "x"]))).status).toBe(401);
  });
});

describe("POST /upload/batch", () => {
  it("keeps what it can in one session and echoes every name exactly", async () => {
    const { as } = filesApp(await openStore(), { KERNELYARD_FILE_MAX_BYTES: "10" });
    const names = ["skills/s/SKILL.md", 'say "hi".txt', "e\u0301.txt", "large", "../up"];
    const response = await as("u@t")(
      "/v1/upload/batch",
      uploadForm(
        { kind: "skill", id: "s", version: "3", read_only: "true" },
        ...names.map((name) => [name, name === "large" ? "01234567890" : ""] as const),
      ),
    );
    expect(response.status).toBe(200);
    const body = z
      .looseObject({ files: z.array(z.looseObject({ fileId: z.string().optional() })) })
      .parse(await response.json());
    expect(body).toMatchObject({ message: "partial_success", succeeded: 3, failed: 2 });
    expect(body.files).toMatchObject([
      { status: "success", filename: names[0] },
      { status: "success", filename: names[1] },
      { status: "success", filename: "e\u0301.txt", name: "\u00e9.txt" },
      { status: "error", filename: "large", error: "File size limit exceeded" },
      { status: "error", filename: "../up", error: expect.stringContaining("Invalid file name") },
    ]);
    expect(body).not.toHaveProperty("filesLimitReached");
  });

  it("tells of the limit on files", async () => {
    const { as } = filesApp(await openStore(), { KERNELYARD_FILES_MAX: "2" });
    const form = uploadForm({}, ["1", ""], ["2", ""], ["3", ""]);
    expect(await json(as("t")("/upload/batch", form))).toMatchObject({
      message: "success",
      succeeded: 2,
      filesLimitReached: true,
      maxFiles: 2,
    });
  });

  it("is an error when nothing could be kept", async () => {
    const { as } = filesApp(await openStore());
    const response = await as("t")("/upload/batch", uploadForm({}, ["/abs", "x"]));
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ message: "error", succeeded: 0, failed: 1 });
    const empty = await as("t")("/upload/batch", uploadForm({ kind: "user" }));
    expect(empty.status).toBe(400);
    expect(await json(empty)).toMatchObject({ error: "No files provided" });
  });
});

describe("GET /download", () => {
  it("has the bytes, their length, the full name and what they are", async () => {
    const { as } = filesApp(await openStore());
    const content = Buffer.alloc(1_000_000, "abc");
    const { sid, fid } = await upload(as("u@t"), { read_only: "true" }, "dir/it's 日本.txt", content);
    const response = await as("u@t")(`/v1/download/${sid}/${fid}?kind=user&id=u`);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-length": "1000000",
      "content-disposition": "attachment; filename*=UTF-8''dir%2Fit%27s%20%E6%97%A5%E6%9C%AC.txt",
      "content-type": "text/plain",
      "x-read-only": "true",
      "x-content-type-options": "nosniff",
      etag: `"${createHash("sha256").update(content).digest("hex")}"`,
    });
    expect(Buffer.from(await response.arrayBuffer()).equals(content)).toBe(true);
  });

  it("serves a part, and says when there is none", async () => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("t"), {}, "x", "0123456789");
    const part = await as("t")(`/download/${sid}/${fid}`, { headers: { range: "bytes=2-4" } });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe("bytes 2-4/10");
    expect(await part.text()).toBe("234");
    const none = await as("t")(`/download/${sid}/${fid}`, { headers: { range: "bytes=10-" } });
    expect(none.status).toBe(416);
    expect(none.headers.get("content-range")).toBe("bytes */10");
  });

  it("serves files of no bytes, and heads without bytes", async () => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("t"), {}, "empty", "");
    const whole = await as("t")(`/download/${sid}/${fid}`);
    expect([whole.status, whole.headers.get("content-length"), await whole.text()]).toEqual([200, "0", ""]);
    const head = await as("t")(`/download/${sid}/${fid}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, "0"]);
  });

  it("says File not found for what is unknown or has lost its bytes", async () => {
    const store = await openStore();
    const { as } = filesApp(store);
    const unknown = await as("t")(`/download/${newId()}/${newId()}`);
    expect(unknown.status).toBe(404);
    expect(await json(unknown)).toMatchObject({ error: "File not found", details: expect.any(String) });
    const { sid, fid } = await upload(as("t"), {});
    store.open = () => Promise.resolve(null);
    expect((await as("t")(`/download/${sid}/${fid}`)).status).toBe(404);
  });

  it("closes the file when the client goes away", async () => {
    const store = await openStore();
    const opened: Readable[] = [];
    const open = store.open.bind(store);
    store.open = async (...args) => {
      const stream = await open(...args);
      if (stream) opened.push(stream);
      return stream;
    };
    const { as } = filesApp(store);
    const { sid, fid } = await upload(as("t"), {}, "x", Buffer.alloc(2_000_000));
    const response = await as("t")(`/download/${sid}/${fid}`);
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect(opened.map((stream) => stream.destroyed)).toEqual([true]);
  });
});

describe("GET /sessions/{sid}/objects/{fid}", () => {
  it("describes the file with its full name", async () => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("u@t"), { kind: "agent", id: "a1" }, "dir/x.csv");
    expect(await json(as("other@t")(`/v1/sessions/${sid}/objects/${fid}?kind=agent&id=a1`))).toEqual({
      fileId: fid,
      id: fid,
      storage_session_id: sid,
      session_id: sid,
      name: `${sid}/${fid}.csv`,
      originalFilename: "dir/x.csv",
      size: 5,
      lastModified: expect.stringMatching(/^\d{4}-.*Z$/),
      etag: expect.stringMatching(/^[0-9a-f]{64}$/),
      contentType: "text/plain",
      readOnly: false,
    });
  });

  it("is 404 when it is not there", async () => {
    const response = await filesApp(await openStore()).as("t")(`/sessions/${newId()}/objects/${newId()}`);
    expect(response.status).toBe(404);
    expect(await json(response)).toMatchObject({ error: "File not found" });
  });
});

describe("GET /files/{sid}", () => {
  it("lists in every form", async () => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("t"), {}, "d/x.csv");
    const list = (detail: string) => json(as("t")(`/v1/files/${sid}${detail}`));
    expect(await list("")).toEqual([`${sid}/${fid}.csv`]);
    expect(await list("?detail=simple")).toEqual([`${sid}/${fid}.csv`]);
    expect(await list("?detail=summary")).toMatchObject([{ name: `${sid}/${fid}.csv`, fileId: fid }]);
    expect(await list("?detail=full")).toMatchObject([
      { name: `${sid}/${fid}.csv`, fileId: fid, metadata: { "original-filename": "d/x.csv" } },
    ]);
    expect(await list("?detail=normalized")).toMatchObject([
      { name: "d/x.csv", id: fid, storage_session_id: sid },
    ]);
    expect((await as("t")(`/v1/files/${sid}?detail=all`)).status).toBe(400);
  });

  it("has nothing for an unknown session: both generations read that as expired", async () => {
    const response = await filesApp(await openStore()).as("t")(`/files/${newId()}?detail=summary`);
    expect([response.status, await json(response)]).toEqual([200, []]);
  });
});

describe("DELETE", () => {
  it.each(["/sessions/SID/objects/FID", "/files/SID/FID"])("%s deletes once", async (path) => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("t"), {});
    const remove = () => as("t")(`/v1${path.replace("SID", sid).replace("FID", fid)}`, { method: "DELETE" });
    const response = await remove();
    expect(response.status).toBe(200);
    expect(await json(response)).toEqual({
      message: "File deleted successfully",
      session_id: sid,
      fileId: fid,
    });
    expect((await remove()).status).toBe(404);
    expect((await as("t")(`/download/${sid}/${fid}`)).status).toBe(404);
  });
});

describe("every file route", () => {
  const ROUTES = [
    ["GET", "/download/SID/FID"],
    ["GET", "/sessions/SID/objects/FID"],
    ["DELETE", "/sessions/SID/objects/FID"],
    ["GET", "/files/SID"],
    ["DELETE", "/files/SID/FID"],
  ] as const;

  it.each(ROUTES)("%s %s refuses malformed ids and kinds with 400", async (method, path) => {
    const { as } = filesApp(await openStore());
    const ask = (sid: string, query = "") =>
      as("t")(`${path.replace("SID", sid).replace("FID", newId())}${query}`, { method });
    expect(await json(ask("x".repeat(22)))).toMatchObject({ error: "Bad request" });
    expect((await ask("..%2f..%2fetc%2fpasswd__")).status).toBe(400);
    const kind = await ask(newId(), "?kind=admin&id=x");
    expect(kind.status).toBe(400);
    expect(await json(kind)).toMatchObject({ error: "kind must be one of: skill, agent, user" });
  });

  const OWNERS = [
    { by: "alice@acme", as: {}, query: "", others: ["bob@acme", "alice@globex", "acme"] },
    { by: "alice@acme", as: { kind: "user", id: "bob" }, query: "?kind=user&id=bob", others: ["bob@acme"] },
    {
      by: "alice@acme",
      as: { kind: "agent", id: "a" },
      query: "?kind=agent&id=a",
      others: ["bob@globex", "acme"],
    },
    {
      by: "alice@acme",
      as: { kind: "agent", id: "a" },
      query: "?kind=agent&id=b",
      others: ["alice@acme", "bob@acme"],
    },
    {
      by: "alice@acme",
      as: { kind: "skill", id: "s", version: "2" },
      query: "?kind=skill&id=s&version=3",
      others: ["alice@acme", "bob@acme"],
    },
    { by: "acme", as: {}, query: "", others: ["globex", "alice@acme"] },
  ];
  it.each(ROUTES.flatMap((route) => OWNERS.map((row) => [...route, row] as const)))(
    "%s %s refuses strangers with 403: $2",
    async (method, path, row) => {
      const { as } = filesApp(await openStore());
      const { sid, fid } = await upload(as(row.by), row.as);
      for (const other of row.others) {
        const url = path.replace("SID", sid).replace("FID", fid) + row.query;
        const response = await as(other)(url, { method });
        expect([other, response.status]).toEqual([other, 403]);
        expect(await json(response)).toMatchObject({ error: "Unauthorized" });
      }
    },
  );
});

describe("POST /exec with files", () => {
  const exec = (caller: Caller, files: readonly object[]) =>
    caller("/v1/exec", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ lang: "py", code: "…", files }),
    });

  it("puts them into the call and answers with what came out", async () => {
    const seen: Record<string, string> = {};
    const { as } = filesApp(await openStore(), {}, async (call): Promise<CallOutcome> => {
      for (const input of call.inputs) seen[input.path] = await readText(input.open());
      const body = Readable.from([Buffer.from("made")], { objectMode: false });
      await call.outputs?.accept({ path: "plots/日本.png", size: 4, change: "created" }, body);
      return finished({ inputs: { unchanged: ["in/a.txt"], modified: [], deleted: ["old.txt"] } });
    });
    const alice = as("alice@acme");
    const kept = await upload(alice, { kind: "agent", id: "a1" }, "in/a.txt", "agent's");
    const old = await upload(alice, {}, "old.txt", "mine");
    const agentRef = {
      id: kept.fid,
      storage_session_id: kept.sid,
      name: "in/a.txt",
      kind: "agent",
      resource_id: "a1",
    };
    const response = await exec(alice, [agentRef, { id: old.fid, session_id: old.sid, name: "old.txt" }]);
    const body = z
      .looseObject({ session_id: z.string(), files: z.array(z.looseObject({ id: z.string() })) })
      .parse(await response.json());

    expect(seen).toEqual({ "in/a.txt": "agent's", "old.txt": "mine" });
    expect(body.files).toEqual([
      {
        id: expect.stringMatching(ID),
        name: "plots/日本.png",
        storage_session_id: body.session_id,
        session_id: body.session_id,
      },
      { ...agentRef, session_id: kept.sid, inherited: true },
    ]);
    expect(body).toMatchObject({ deleted_files: ["old.txt"], status: null, code: 0 });

    // Read your writes, in both generations' ways; and no one else's.
    const [made] = body.files;
    const download = await alice(`/v1/download/${body.session_id}/${made?.id}?kind=user&id=alice`);
    expect(await download.text()).toBe("made");
    expect((await as("bob@acme")(`/v1/download/${body.session_id}/${made?.id}`)).status).toBe(403);
    const listed = z
      .array(
        z.looseObject({ name: z.string(), metadata: z.looseObject({ "original-filename": z.string() }) }),
      )
      .parse(await json(alice(`/v1/files/${body.session_id}?detail=full`)));
    expect(listed.map(({ metadata }) => metadata["original-filename"])).toEqual([
      "in/a.txt",
      "plots/日本.png",
    ]);
    // An older client builds references from that list, all with the execution's session.
    const refs = listed.map(({ name, metadata }) => ({
      id: name.split("/")[1]?.split(".")[0],
      session_id: body.session_id,
      name: metadata["original-filename"],
    }));
    expect((await exec(alice, refs)).status).toBe(200);
    expect(seen["plots/日本.png"]).toBe("made");
  });

  it("refuses unknown and foreign references alike, before anything runs", async () => {
    const { as } = filesApp(await openStore());
    const { sid, fid } = await upload(as("alice@acme"), {});
    const bodies = [];
    for (const id of [fid, newId()]) {
      const response = await exec(as("bob@acme"), [{ id, storage_session_id: sid, name: "x" }]);
      expect(response.status).toBe(403);
      bodies.push(await response.json());
    }
    expect(bodies[0]).toEqual(bodies[1]);
    expect(bodies[0]).toMatchObject({ error: "Unauthorized file reference" });
  });

  it.each([
    [[{ id: "short", storage_session_id: newId(), name: "x" }], "files[0].id"],
    [[{ id: newId(), name: "x" }], "files[0].storage_session_id"],
    [[{ id: newId(), session_id: newId(), name: "../x" }], "files[0].name"],
    [
      ["a", "a/b"].map((name) => ({ id: newId(), session_id: newId(), name })),
      "cannot be a file and the directory",
    ],
  ])("refuses %j with 400", async (files, problem) => {
    const response = await exec(filesApp(await openStore()).as("t"), files);
    expect(response.status).toBe(400);
    expect(JSON.stringify(await json(response))).toContain(problem);
  });

  it("leaves nothing of a call that did not run", async () => {
    const directory = await temporaryDirectory();
    const { as } = filesApp(await openStore({ directory }), {}, async (call) => {
      const body = Readable.from([Buffer.from("half")], { objectMode: false });
      await call.outputs?.accept({ path: "x", size: 4, change: "created" }, body);
      return { kind: "unavailable", error: "sandbox_failed", message: "it ended" };
    });
    expect((await exec(as("t"), [])).status).toBe(503);
    expect(await contentFiles(directory)).toEqual([]);
  });
});

it("no request's content reaches the log", async () => {
  const { as, log } = filesApp(await openStore());
  await upload(as("t"), {}, "secret-name.txt", "secret-content");
  expect(JSON.stringify(log)).not.toMatch(/secret/);
  expect(log).toMatchObject([{ path: "/upload", status: 200, files: 1, bytes: 14 }]);
});

it("the OpenAPI document describes every file route", async () => {
  const { app } = filesApp(await openStore());
  const document = z
    .looseObject({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
    .parse(await (await app.request("/openapi.json")).json());
  const has = (path: string) => Object.keys(document.paths[path] ?? {});
  expect(has("/upload")).toEqual(["post"]);
  expect(has("/upload/batch")).toEqual(["post"]);
  expect(has("/download/{session_id}/{file_id}")).toEqual(["get"]);
  expect(has("/sessions/{session_id}/objects/{file_id}").sort()).toEqual(["delete", "get"]);
  expect(has("/files/{session_id}")).toEqual(["get"]);
  expect(has("/files/{session_id}/{file_id}")).toEqual(["delete"]);
});
