/** Files all the way: uploaded, in a real sandbox, out again. */
import { z } from "@hono/zod-openapi";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { normaliseName } from "../../../gateway/server/files/names.ts";
import { uploadForm } from "../../support/files/app.ts";
import { HeldMemory, watchHeld } from "../../support/held-memory.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const MIB = 1024 * 1024;
const SIZE = 150 * MIB;
let stack: Stack;

beforeAll(async () => {
  stack = await startStack({
    env: { KERNELYARD_MEMORY: "1g", KERNELYARD_FRESH_DISK: "512m", KERNELYARD_OUTPUT_FILES_MAX: "200" },
    inspect: true,
  });
});
afterAll(() => stack?.stop());

const Batch = z.object({
  storage_session_id: z.string(),
  succeeded: z.number(),
  files: z.array(z.object({ filename: z.string(), fileId: z.string() })),
});
const Executed = z.object({
  session_id: z.string(),
  stdout: z.string(),
  stderr: z.string(),
  files: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      storage_session_id: z.string(),
      inherited: z.boolean().optional(),
      modified_from: z.object({ id: z.string() }).optional(),
    }),
  ),
  deleted_files: z.array(z.string()).optional(),
});

interface Ref {
  readonly id: string;
  readonly storage_session_id: string;
  readonly name: string;
}

async function upload(
  fields: Record<string, string>,
  ...files: readonly (readonly [string, string])[]
): Promise<Ref[]> {
  const { body, headers } = uploadForm(fields, ...files);
  const response = await fetch(`${stack.baseUrl}/v1/upload/batch`, {
    method: "POST",
    headers: { ...headers, "x-api-key": stack.apiKey },
    body,
  });
  const batch = Batch.parse(await response.json());
  expect(batch.succeeded).toBe(files.length);
  return batch.files.map(({ fileId, filename }) => ({
    id: fileId,
    storage_session_id: batch.storage_session_id,
    name: filename,
  }));
}

async function exec(code: string, files: readonly Ref[]): Promise<z.infer<typeof Executed>> {
  const response = await stack.post("/v1/exec", { lang: "py", code, files });
  expect(response.status).toBe(200);
  return Executed.parse(await response.json());
}

async function get(path: string): Promise<Response> {
  const response = await fetch(`${stack.baseUrl}/v1${path}`, { headers: { "x-api-key": stack.apiKey } });
  expect(response.status).toBe(200);
  return response;
}

it("inputs are where they were named; what the code did to each is told; outputs come back exactly", async () => {
  const skill = { kind: "skill", id: "s", version: "1", read_only: "true" };
  const [readOnly] = await upload(skill, ["skills/s/SKILL.md", "fixed"]);
  const [same, changed, gone, empty] = await upload(
    { kind: "user", id: "u" },
    ["data/ünï 日本.csv", "1,2"],
    ['say "hi".txt', "old"],
    ["gone.txt", "x"],
    ["empty", ""],
  );
  if (!readOnly || !same || !changed || !gone || !empty) throw new Error("uploads are missing");
  const ran = await exec(
    `
import os
print(open("data/ünï 日本.csv").read(), os.path.getsize("empty"), oct(os.stat("skills/s/SKILL.md").st_mode)[-3:])
open('say "hi".txt', "w").write("new")
os.remove("gone.txt")
os.chmod("skills/s/SKILL.md", 0o644); open("skills/s/SKILL.md", "w").write("patched")
os.makedirs("out/深い")
with open("out/深い/結果.txt", "w") as out: out.write("made")
`,
    [readOnly, same, changed, gone, empty],
  );

  expect({ stdout: ran.stdout, stderr: ran.stderr }).toEqual({ stdout: "1,2 0 444\n", stderr: "" });
  const byName = new Map(ran.files.map((file) => [file.name, file]));
  expect([...byName.keys()].sort()).toEqual(
    [readOnly.name, same.name, changed.name, empty.name, "out/深い/結果.txt"].sort(),
  );
  for (const input of [readOnly, same, empty]) {
    expect(byName.get(input.name)).toMatchObject({ ...input, inherited: true });
  }
  expect(byName.get(changed.name)).toMatchObject({
    storage_session_id: ran.session_id,
    modified_from: { id: changed.id },
  });
  expect(ran.deleted_files).toEqual(["gone.txt"]);

  const made = byName.get("out/深い/結果.txt");
  const download = await get(`/download/${ran.session_id}/${made?.id}`);
  expect(decodeURIComponent(download.headers.get("content-disposition") ?? "")).toContain(
    "out/深い/結果.txt",
  );
  expect(await download.text()).toBe("made");
  const again = await exec(`print(open("out/深い/結果.txt").read(), open('say "hi".txt').read())`, ran.files);
  expect(again.stdout).toBe("made new\n");
  expect(again.files.every(({ inherited }) => inherited === true)).toBe(true);
});

it("files of a run that failed are kept", async () => {
  const ran = await exec("open('before.txt', 'w').write('kept'); raise SystemExit(3)", []);
  const [file] = ran.files;
  expect(file?.name).toBe("before.txt");
  expect(await (await get(`/download/${ran.session_id}/${file?.id}`)).text()).toBe("kept");
});

it("any accepted name is the same in upload, sandbox, listing and download", async () => {
  const segment = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 });
  const names = fc
    .sample(fc.array(segment, { minLength: 1, maxLength: 3 }), 400)
    .map((segments) => segments.join("/"))
    // What a form can carry; "%22" is its spelling of a quote, a backslash its escape.
    .filter((name) => normaliseName(name).ok && !/[\r\n\\]|%22/.test(name))
    .concat(
      "e\u0301/\u1112\u1161\u11ab.txt",
      "ﬁ.txt",
      "👩‍👩‍👧/ 🏳️‍🌈.png",
      " lead and trail ",
      "-rf",
      "a'b;$(x)`y`",
    )
    .slice(-120);
  // Each in a directory of its own: a name is then never the directory of another one.
  const sent = names.map((name, index) => `${index}/${name}`);
  const expected = sent.map((name) => {
    const result = normaliseName(name);
    return result.ok ? result.name : "";
  });
  const refs = await upload({}, ...sent.map((name) => [name, "x"] as const));
  expect(refs.map(({ name }) => name)).toEqual(sent);

  const ran = await exec(
    `
import json, os
found = sorted(os.path.relpath(os.path.join(top, name), ".") for top, _, names in os.walk(".") for name in names)
for name in found:
    open(name, "a").write("y")
print(json.dumps(found))
`,
    refs,
  );
  expect(ran.stderr).toBe("");
  const inSandbox = z.array(z.string()).parse(JSON.parse(ran.stdout));
  expect(inSandbox.sort()).toEqual([...expected].sort());
  expect(ran.files.map(({ name }) => name).sort()).toEqual([...expected].sort());
  const listed = z
    .array(z.object({ metadata: z.looseObject({ "original-filename": z.string() }) }))
    .parse(await (await get(`/files/${ran.session_id}?detail=full`)).json());
  expect(listed.map(({ metadata }) => metadata["original-filename"]).sort()).toEqual([...expected].sort());
  for (const { id, name } of ran.files.slice(0, 20)) {
    const download = await get(`/download/${ran.session_id}/${id}`);
    const header = download.headers.get("content-disposition") ?? "";
    expect(decodeURIComponent(header.slice(header.indexOf("''") + 2))).toBe(name);
    expect(await download.text()).toBe("xy");
  }
});

it("150 MB out of a sandbox and into the next: gateway and launcher hold a small part of it", async () => {
  using gateway = await HeldMemory.of(stack.gateway.inspector);
  using launcher = await HeldMemory.of(stack.launcher.inspector);
  const watched = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const before = { gateway: await gateway.bytes(), launcher: await launcher.bytes() };
    const working = work();
    const seen = await Promise.all([
      watchHeld(gateway, working, before.gateway),
      watchHeld(launcher, working, before.launcher),
    ]);
    for (const [index, name] of ["gateway", "launcher"].entries()) {
      const growth = seen[index]?.growth ?? Number.NaN;
      process.stdout.write(
        `${what}: ${name} +${(growth / MIB).toFixed(1)} MiB in ${seen[index]?.samples} samples\n`,
      );
      expect(growth, `${name}, ${what}`).toBeLessThan(SIZE / 8);
    }
    return working;
  };
  const made = await watched("out", () =>
    exec("import os\nopen('big.bin', 'wb').write(os.urandom(1 << 20) * 150)", []),
  );
  expect(made.files.map(({ name }) => name)).toEqual(["big.bin"]);
  const read = await watched("in", () => exec("import os\nprint(os.path.getsize('big.bin'))", made.files));
  expect(read.stdout).toBe(`${SIZE}\n`);
  expect(read.files).toMatchObject([{ id: made.files[0]?.id, inherited: true }]);
});

it("kill -9 of the gateway during a run with outputs: what was answered is there", async () => {
  const kept = await exec("open('kept.txt', 'w').write('kept')", []);
  const pending = exec("for i in range(40): open(f'{i}.bin', 'wb').write(b'x' * 500_000)", []).catch(
    () => null,
  );
  await stack.gateway.signal("SIGKILL");
  await pending;
  await stack.startGateway();
  expect(await (await get(`/download/${kept.session_id}/${kept.files[0]?.id}`)).text()).toBe("kept");
});
