/** Files of both generations: upload, use, echo, change, delete, listings. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { callTool, type FileEntry, loadAgents, loadOldAgents } from "../support/librechat/clients.ts";
import {
  type Caller,
  download,
  exec,
  metadata,
  run,
  type StoredFile,
  tryUpload,
  tryUploadBatch,
  upload,
  uploadBatch,
} from "./support/files.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ KERNELYARD_FILE_MAX_BYTES: "1m", KERNELYARD_FILES_MAX: "5" });
});
afterAll(() => service?.stop());

const gen2 = (): Caller => ({
  baseUrl: service.baseUrl,
  headers: { ...service.authorization() },
  userId: ALICE.id,
});
const gen1 = (): Caller => ({
  baseUrl: service.baseUrl,
  headers: { "X-API-Key": service.apiKey },
  userId: ALICE.id,
});
const USER = { kind: "user", id: ALICE.id } as const;
const QUERY = `?kind=user&id=${ALICE.id}`;

const ref = (file: StoredFile, extra: object = {}) => ({
  ...file,
  kind: "user",
  resource_id: ALICE.id,
  ...extra,
});
const python = (code: string, files: readonly object[]) =>
  callTool(
    loadAgents().createCodeExecutionTool({
      baseUrl: service.baseUrl,
      authHeaders: async () => service.authorization(),
    }),
    "execute_code",
    { lang: "py", code },
    { _injected_files: files },
  );
const named = (files: readonly FileEntry[] | undefined, name: string): FileEntry => {
  const found = files?.find((file) => file.name === name);
  if (found === undefined) throw new Error(`no ${name} in ${JSON.stringify(files)}`);
  return found;
};

describe("generation 2", () => {
  it("b-4 upload, use in the real client, c-5 unchanged input is echoed with the same ids", async () => {
    const file = await upload(gen2(), USER, { name: "in.csv", content: "a,b\n1,2\n" });
    expect(file.id).toMatch(/^[A-Za-z0-9_-]{21}$/);
    expect(file.storage_session_id).toMatch(/^[A-Za-z0-9_-]{21}$/);
    const { content, artifact } = await python("print(open('/mnt/data/in.csv').read())", [ref(file)]);
    expect(content).toContain("a,b\n1,2");
    expect(artifact.files).toEqual([
      expect.objectContaining({
        id: file.id,
        name: "in.csv",
        storage_session_id: file.storage_session_id,
        inherited: true,
        kind: "user",
        resource_id: ALICE.id,
      }),
    ]);
    expect(artifact.session_id).not.toBe(file.storage_session_id);
  });

  it("c-5 changed input has a new id in the new session and says where it comes from", async () => {
    const file = await upload(gen2(), USER, { name: "in.txt", content: "old" });
    const { artifact } = await python("open('in.txt','a').write('+new')", [ref(file)]);
    const changed = named(artifact.files, "in.txt");
    expect(changed).toMatchObject({
      storage_session_id: artifact.session_id,
      modified_from: {
        id: file.id,
        storage_session_id: file.storage_session_id,
        session_id: file.storage_session_id,
      },
    });
    expect(changed.id).not.toBe(file.id);
    expect(changed.inherited).toBeUndefined();
    const stored = { id: changed.id, name: "in.txt", storage_session_id: artifact.session_id ?? "" };
    expect((await download(gen2(), stored, QUERY)).bytes.toString()).toBe("old+new");
    expect((await download(gen2(), file, QUERY)).bytes.toString()).toBe("old");
  });

  it("a-1 deleted input is named, and the others are echoed", async () => {
    const gone = await upload(gen2(), USER, { name: "gone.txt", content: "x" });
    const kept = await upload(gen2(), USER, { name: "kept.txt", content: "y" });
    const { artifact } = await python("import os; os.remove('gone.txt')", [ref(gone), ref(kept)]);
    expect(artifact.deleted_files).toEqual(["gone.txt"]);
    expect(artifact.files?.map(({ name }) => name)).toEqual(["kept.txt"]);
  });

  it("c-5 a read-only input is inherited, mode 0444, even if its bytes were changed", async () => {
    const skill = { kind: "skill", id: "65f000000000000000000002", version: 7, readOnly: true } as const;
    const [file] = await uploadBatch(gen2(), skill, [
      { name: "skills/pptx/a.py", content: "print('skill')" },
    ]);
    if (file === undefined) throw new Error("nothing stored");
    const injected = { ...file, kind: "skill", resource_id: skill.id, version: 7 };
    const { content, artifact } = await python(
      [
        "import os",
        "p = 'skills/pptx/a.py'",
        "print(oct(os.stat(p).st_mode & 0o777))",
        "os.chmod(p, 0o644); open(p, 'w').write('changed')",
      ].join("\n"),
      [injected],
    );
    expect(content).toContain("0o444");
    expect(artifact.files).toEqual([
      expect.objectContaining({
        id: file.id,
        storage_session_id: file.storage_session_id,
        inherited: true,
        kind: "skill",
        version: 7,
      }),
    ]);
    const { headers, bytes } = await download(gen2(), file, `?kind=skill&id=${skill.id}&version=7`);
    expect(headers.get("X-Read-Only")).toBe("true");
    expect(bytes.toString()).toBe("print('skill')");
  });

  it("b-3 outputs of one call are inputs of the next; c-4 one call mixes many sessions", async () => {
    const uploaded = await upload(gen2(), USER, { name: "one.txt", content: "1" });
    const made = await run(gen2(), {
      lang: "py",
      code: "import os; os.makedirs('sub'); open('sub/two.txt','w').write('2')",
    });
    const output = named(made.files, "sub/two.txt");
    const { stdout, files } = await run(gen2(), {
      lang: "bash",
      code: "cat one.txt sub/two.txt",
      files: [ref(uploaded), { ...output, kind: "user", resource_id: ALICE.id }],
    });
    expect(stdout).toBe("12");
    expect(files.every(({ inherited }) => inherited === true)).toBe(true);
  });

  it("a-6 download: bytes, length, full name; the next request finds what a call has just made", async () => {
    const made = await run(gen2(), {
      lang: "py",
      code: "import os; os.makedirs('ö/日本'); open('ö/日本/a \"b\".bin','wb').write(bytes(range(256)))",
    });
    const output = named(made.files, 'ö/日本/a "b".bin');
    const { status, bytes, headers } = await download(
      gen2(),
      { ...output, storage_session_id: made.session_id },
      QUERY,
    );
    expect(status).toBe(200);
    expect(bytes).toEqual(Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
    expect(headers.get("Content-Length")).toBe("256");
    expect(headers.get("Content-Disposition")).toBe(
      `attachment; filename*=UTF-8''${encodeURIComponent('ö/日本/a "b".bin')}`,
    );
  });

  it("a-7 metadata: alive, with the full relative path", async () => {
    const before = Date.now();
    const file = await upload(gen2(), USER, { name: "dir/in.csv", content: "abc" });
    const after = Date.now();
    const found = await metadata(gen2(), file, QUERY);
    expect(found).toMatchObject({
      originalFilename: "dir/in.csv",
      name: `${file.storage_session_id}/${file.id}.csv`,
      size: 3,
      readOnly: false,
    });
    if (typeof found === "number") throw new Error("not found");
    const modified = new Date(found.lastModified).getTime();
    // The header of a date has whole seconds.
    expect(modified).toBeGreaterThanOrEqual(before - 1000);
    expect(modified).toBeLessThanOrEqual(after);
    expect(await metadata(gen2(), { ...file, id: "x".repeat(21) }, QUERY)).toBe(404);
  });

  it("a-8 listings in every form, with fileId; unknown sessions are empty or 404", async () => {
    const file = await upload(gen2(), USER, { name: "dir/in.csv", content: "abc" });
    const list = async (detail: string) => {
      const path = `/files/${file.storage_session_id}${QUERY}${detail === "" ? "" : `&detail=${detail}`}`;
      const response = await fetch(`${service.baseUrl}${path}`, { headers: gen2().headers });
      expect(response.status).toBe(200);
      return z.array(z.unknown()).parse(await response.json());
    };
    const object = `${file.storage_session_id}/${file.id}.csv`;
    expect(await list("")).toEqual([object]);
    expect(await list("simple")).toEqual([object]);
    const ids = { id: file.id, fileId: file.id, storage_session_id: file.storage_session_id };
    expect(await list("summary")).toMatchObject([{ name: object, size: 3, ...ids }]);
    expect(await list("full")).toMatchObject([
      {
        name: object,
        ...ids,
        metadata: { "original-filename": "dir/in.csv", "content-type": expect.any(String) },
      },
    ]);
    expect(await list("normalized")).toMatchObject([{ name: "dir/in.csv", size: 3, ...ids }]);
    const unknown = await fetch(`${service.baseUrl}/files/${"x".repeat(21)}${QUERY}`, {
      headers: gen2().headers,
    });
    expect([200, 404]).toContain(unknown.status);
    if (unknown.status === 200) expect(await unknown.json()).toEqual([]);
  });

  it.each(["sessions/SID/objects/FID", "files/SID/FID"])("a-9 DELETE %s", async (pattern) => {
    const file = await upload(gen2(), USER, { name: "a.txt", content: "a" });
    const path = pattern.replace("SID", file.storage_session_id).replace("FID", file.id);
    const remove = () =>
      fetch(`${service.baseUrl}/${path}${QUERY}`, { method: "DELETE", headers: gen2().headers });
    const first = await remove();
    expect(first.status).toBe(200);
    expect(await first.json()).toMatchObject({
      message: "File deleted successfully",
      session_id: file.storage_session_id,
      fileId: file.id,
    });
    expect((await remove()).status).toBe(404);
    expect((await download(gen2(), file, QUERY)).status).toBe(404);
    expect(await exec(gen2(), { lang: "py", code: "1", files: [ref(file)] })).toBe(403);
  });

  it("a-5 a batch shares one session and echoes names byte by byte", async () => {
    const names = ["skills/pptx/SKILL.md", "skills/pptx/ünï 日本.csv", "skills/pptx/empty"];
    const skill = { kind: "skill", id: "65f000000000000000000003", version: 1 } as const;
    const stored = await uploadBatch(
      gen2(),
      skill,
      names.map((name) => ({ name, content: name.endsWith("empty") ? "" : name })),
    );
    expect(stored.map(({ name }) => name)).toEqual(names);
    expect(new Set(stored.map(({ storage_session_id }) => storage_session_id)).size).toBe(1);
    const { stdout } = await run(gen2(), {
      lang: "bash",
      code: "find skills -type f -printf '%s %p\\n' | LC_ALL=C sort -k2",
      files: stored.map((file) => ({ ...file, kind: "skill", resource_id: skill.id, version: 1 })),
    });
    expect(stdout).toBe("20 skills/pptx/SKILL.md\n0 skills/pptx/empty\n28 skills/pptx/ünï 日本.csv\n");
  });

  it("a-5 what is too many or too large is said per file", async () => {
    const big = { name: "big.bin", content: Buffer.alloc((1 << 20) + 1) };
    const partial = await tryUploadBatch(gen2(), USER, [{ name: "a.txt", content: "a" }, big]);
    expect(partial.status).toBe(200);
    expect(partial.data).toMatchObject({ message: "partial_success", succeeded: 1, failed: 1 });
    const many = Array.from({ length: 7 }, (_, i) => ({ name: `f${i}.txt`, content: "x" }));
    expect((await tryUploadBatch(gen2(), USER, many)).data).toMatchObject({
      filesLimitReached: true,
      maxFiles: 5,
      succeeded: 5,
    });
    const none = await tryUploadBatch(gen2(), USER, [big]);
    expect(none.status).toBe(400);
    expect(none.data).toMatchObject({ message: "error", failed: 1 });
    expect((await tryUploadBatch(gen2(), USER, [])).data).toMatchObject({ error: "No files provided" });
  });

  it("a-4 limits hold while streaming: 413 in the reference's words", async () => {
    const answer = await tryUpload(gen2(), USER, { name: "big.bin", content: Buffer.alloc((1 << 20) + 1) });
    expect(answer.status).toBe(413);
    expect(answer.data).toMatchObject({ error: "File size limit exceeded" });
  });

  it.each([
    "spaces in it.txt",
    'quo"te.txt',
    "日本語.txt",
    "emoji 👩‍👩‍👧.txt",
    "no-extension",
    ".hidden",
    "empty.txt",
  ])("c-7 names go in and come out as they are: %s", async (name) => {
    const content = name === "empty.txt" ? "" : `content of ${name}`;
    const file = await upload(gen2(), USER, { name, content });
    expect(file.name).toBe(name);
    const { stdout, files } = await run(gen2(), {
      lang: "py",
      code: `import os\nprint(os.listdir('.') == [${JSON.stringify(name)}], os.path.getsize(${JSON.stringify(name)}))`,
      files: [ref(file)],
    });
    expect(stdout).toBe(`True ${Buffer.byteLength(content)}\n`);
    expect(files).toMatchObject([{ name, id: file.id, inherited: true }]);
    expect((await download(gen2(), file, QUERY)).bytes.toString()).toBe(content);
  });

  it("c-11 an unknown reference refuses the whole call; c-12 a name and its folder are 400", async () => {
    const unknown = { id: "x".repeat(21), storage_session_id: "y".repeat(21), name: "a.txt" };
    expect(await exec(gen2(), { lang: "py", code: "1", files: [unknown] })).toBe(403);
    const one = await upload(gen2(), USER, { name: "a.txt", content: "one" });
    const inside = await upload(gen2(), USER, { name: "a.txt/b.txt", content: "b" });
    expect(await exec(gen2(), { lang: "py", code: "1", files: [ref(one), ref(inside)] })).toBe(400);
  });

  it("a-1 a file that cannot be kept is told as the client accepts it, and the others are delivered", async () => {
    const { content, artifact } = await python(
      "open('big.bin','wb').write(bytes((1 << 20) + 1)); open('small.txt','w').write('s')",
      [],
    );
    expect(artifact.files?.map(({ name }) => name)).toEqual(["small.txt"]);
    expect(artifact.artifact_delivery).toEqual({
      code: "artifact_delivery_failed",
      status: "partial",
      attempted: 2,
      delivered: 1,
      failed: 1,
    });
    expect(content).toMatch(/deliver/i);
  });

  it("c-6 links, pipes, devices and deep or endless trees neither hang nor leak", async () => {
    const { stdout, files } = await run(gen2(), {
      lang: "py",
      code: [
        "import os",
        "os.symlink('/etc/passwd', 'link.txt'); os.symlink('.', 'loop')",
        "os.mkfifo('pipe.txt')",
        "d = '.'",
        "for i in range(40):",
        "    d += '/d'; os.mkdir(d)",
        "open(d + '/deep.txt', 'w').write('x')",
        "open('real.txt', 'w').write('real')",
        "print('done')",
      ].join("\n"),
    });
    expect(stdout).toBe("done\n");
    expect(files.map(({ name }) => name)).toEqual(["real.txt"]);
  });
});

describe("generation 1", () => {
  const old = (files: readonly object[]) =>
    loadOldAgents(service.baseUrl).createCodeExecutionTool({
      apiKey: service.apiKey,
      user_id: ALICE.id,
      files,
    });
  const oldRef = ({ id, storage_session_id, name }: StoredFile) => ({
    id,
    session_id: storage_session_id,
    name,
  });

  it("a-4 upload with and without entity_id, then use and download without any query", async () => {
    for (const entityId of [null, "agent_1"]) {
      const file = await upload(gen1(), { entityId }, { name: "in.txt", content: "gen1" });
      const { content, artifact } = await callTool(old([oldRef(file)]), "execute_code", {
        lang: "py",
        code: "print(open('in.txt').read()); open('out.txt','w').write('o')",
      });
      expect(content).toContain("stdout:\ngen1\n");
      const out = named(artifact.files, "out.txt");
      const stored = { id: out.id, name: "out.txt", storage_session_id: artifact.session_id ?? "" };
      expect((await download(gen1(), stored)).bytes.toString()).toBe("o");
    }
  });

  it("b-5 the freshness probe: summary entries begin with <sid>/<fid>", async () => {
    const file = await upload(gen1(), { entityId: null }, { name: "in.txt", content: "x" });
    const response = await fetch(`${service.baseUrl}/files/${file.storage_session_id}?detail=summary`, {
      headers: gen1().headers,
    });
    const [entry] = z
      .array(z.looseObject({ name: z.string(), lastModified: z.iso.datetime() }))
      .parse(await response.json());
    expect(entry?.name.startsWith(`${file.storage_session_id}/${file.id}`)).toBe(true);
  });

  it("a-8 `session_id` as the model's argument brings back inputs and outputs of that execution", async () => {
    const file = await upload(gen1(), { entityId: null }, { name: "in put.txt", content: "in" });
    const first = await callTool(old([oldRef(file)]), "execute_code", {
      lang: "py",
      code: "open('out.txt','w').write('out')",
    });
    const second = await callTool(old([]), "execute_code", {
      lang: "py",
      code: "import os; print(sorted(os.listdir('.')), open('in put.txt').read(), open('out.txt').read())",
      session_id: first.artifact.session_id,
    });
    expect(second.content).toContain("['in put.txt', 'out.txt'] in out");
  });
});
