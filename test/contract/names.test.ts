/** A name, from upload to sandbox to listing to download and back out of the sandbox: the same everywhere. */
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { type Caller, download, run, type StoredFile } from "./support/files.ts";
import { ALICE, type Service, startService } from "./support/service.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: no header can carry these
const C0 = /[\u0000-\u001f\u007f]/g;
const WITHIN_MS = 90_000;
const NAMES_PER_RUN = 16;

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service?.stop());

const pieces = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 20 }) },
  // Composed and decomposed, spaces at the ends, quotes, separators of other systems, long ones.
  fc.constantFrom(
    "é",
    "e\u0301",
    "가",
    "\u1100\u1161",
    "ﬁ",
    " a ",
    "a.",
    'q"q',
    "%22",
    "%2F",
    "a\\b",
    "C:",
    "...",
  ),
  fc.constantFrom("\u0001", "\u007f", "\u0085", "\u2028", "\u202e", "\u200d", "\ufeff"),
  fc.constantFrom("x".repeat(250), "日".repeat(84), "..", ".", ""),
);
const name = fc
  .array(pieces, { minLength: 1, maxLength: 4 })
  .chain((parts) => fc.constantFrom("/", "", " ").map((by) => parts.join(by)));

/** Names that nothing has a reason to touch. */
function isOrdinary(raw: string): boolean {
  return (
    raw.isWellFormed() &&
    raw === raw.normalize("NFC") &&
    !/[\p{Cc}\u2028\u2029]|%22/u.test(raw) &&
    raw
      .split("/")
      .every((part) => part !== "" && part !== "." && part !== ".." && Buffer.byteLength(part) <= 255)
  );
}

const Batch = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ status: z.string(), fileId: z.string().optional(), filename: z.string() })),
});

/** As form-data writes it: raw UTF-8 in `filename`, a quote as `%22`. */
function formOf(names: readonly string[]): { body: Buffer; contentType: string } {
  const boundary = `form${randomBytes(12).toString("hex")}`;
  const parts = names.flatMap((raw, i) => [
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${raw.replaceAll('"', "%22")}"\r\n`,
    `Content-Type: application/octet-stream\r\n\r\ncontent ${i}\r\n`,
  ]);
  const body = Buffer.from(`${parts.join("")}--${boundary}--\r\n`);
  return { body, contentType: `multipart/form-data; boundary=${boundary}` };
}

const Listing = z.array(z.object({ id: z.string(), name: z.string() }));

const SHOW_AND_COPY = `
import json, os, shutil
found = []
for folder, _, names in os.walk('.'):
    for name in names:
        path = os.path.relpath(os.path.join(folder, name), '.')
        found.append([path, open(path).read()])
for path, _ in found:
    os.makedirs(os.path.dirname('out/' + path), exist_ok=True)
    shutil.copyfile(path, 'out/' + path)
print(json.dumps(found))
`;

const dispositionName = (headers: Headers): string => {
  const encoded = /^attachment; filename\*=UTF-8''(.*)$/.exec(headers.get("Content-Disposition") ?? "")?.[1];
  return decodeURIComponent(encoded ?? "");
};

it("c-7 c-8 a name is the same on its whole way", { timeout: WITHIN_MS + 60_000 }, async () => {
  const caller: Caller = {
    baseUrl: service.baseUrl,
    headers: { "X-API-Key": service.apiKey },
    userId: ALICE.id,
  };
  let names = 0;
  const wholeWay = async (raws: readonly string[]) => {
    // A folder of its own for each: files and folders of one name are another statement.
    const sent = raws.map((raw, i) => `${i}/${raw.replaceAll(C0, "")}`);
    const { body, contentType } = formOf(sent);
    const response = await fetch(`${caller.baseUrl}/upload/batch`, {
      method: "POST",
      headers: { ...caller.headers, "content-type": contentType },
      body: new Uint8Array(body),
    });
    const batch = Batch.parse(await response.json());
    expect(batch.files).toHaveLength(sent.length);
    const listing = await fetch(`${caller.baseUrl}/files/${batch.storage_session_id}?detail=normalized`, {
      headers: caller.headers,
    });
    const listed = new Map(Listing.parse(await listing.json()).map((entry) => [entry.id, entry.name]));
    const stored = new Map<string, { file: StoredFile; content: string }>();
    for (const [i, raw] of sent.entries()) {
      const entry = batch.files[i];
      // LibreChat finds its files again by the name as it sent it.
      const told = raw.replaceAll("%22", '"');
      if (isOrdinary(raw)) expect(entry, raw).toMatchObject({ status: "success", filename: told });
      if (entry?.status !== "success" || entry.fileId === undefined) continue;
      expect(entry.filename).toBe(told.toWellFormed());
      const kept = listed.get(entry.fileId) ?? "";
      if (isOrdinary(raw)) expect(kept).toBe(told);
      expect(kept).toBe(kept.normalize("NFC"));
      expect(kept).not.toMatch(/\p{Cc}/u);
      const file = { id: entry.fileId, storage_session_id: batch.storage_session_id, name: entry.filename };
      stored.set(kept, { file, content: `content ${i}` });
    }
    names += stored.size;
    const files = [...stored.values()].map(({ file }) => file);

    const reply = await run(caller, { lang: "py", code: SHOW_AND_COPY, files });
    const found = z.array(z.tuple([z.string(), z.string()])).parse(JSON.parse(reply.stdout));
    expect(new Map(found)).toEqual(new Map([...stored].map(([key, { content }]) => [key, content])));

    for (const [filename, { file, content }] of stored) {
      const uploaded = await download(caller, file);
      expect([dispositionName(uploaded.headers), uploaded.bytes.toString()]).toEqual([filename, content]);
      // What code makes and hides stays hidden.
      if (/(^|\/)\./.test(filename)) continue;
      const copy = reply.files.find((entry) => entry.name === `out/${filename}`);
      expect(copy, `out/${filename}`).toBeDefined();
      if (copy === undefined) continue;
      const made = await download(caller, { ...copy, storage_session_id: reply.session_id });
      expect([dispositionName(made.headers), made.bytes.toString()]).toEqual([`out/${filename}`, content]);
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.array(name, { minLength: NAMES_PER_RUN, maxLength: NAMES_PER_RUN }), wholeWay),
    { numRuns: 12, interruptAfterTimeLimit: WITHIN_MS, markInterruptAsFailure: false, endOnFailure: true },
  );
  console.log(`names that went the whole way: ${names}`);
  expect(names).toBeGreaterThan(NAMES_PER_RUN);
});

it("a control character in a part's header is refused, not a failure of the service", async () => {
  const { body, contentType } = formOf(["a\u0001b.txt"]);
  const response = await fetch(`${service.baseUrl}/upload`, {
    method: "POST",
    headers: { "X-API-Key": service.apiKey, "content-type": contentType },
    body: new Uint8Array(body),
  });
  expect(response.status).toBe(400);
});

it("c-8 names that only code can make come out whole: control characters replaced, composed, none lost", async () => {
  const caller: Caller = {
    baseUrl: service.baseUrl,
    headers: { "X-API-Key": service.apiKey },
    userId: ALICE.id,
  };
  const made = ["a\nb.txt", "a\u0001b.txt", "e\u0301.txt", " .txt", "\u2028.txt"];
  const { files, session_id } = await run(caller, {
    lang: "py",
    code: `for i, n in enumerate(${JSON.stringify(made)}): open(n, 'w').write(str(i))`,
  });
  const contents = new Set<string>();
  for (const file of files) {
    expect(file.name).toBe(file.name.normalize("NFC"));
    expect(file.name).not.toMatch(/[\p{Cc}\u2028]/u);
    const { bytes, headers } = await download(caller, { ...file, storage_session_id: session_id });
    expect(dispositionName(headers)).toBe(file.name);
    contents.add(bytes.toString());
  }
  expect([...contents].sort()).toEqual(made.map((_, i) => String(i)));
  expect(new Set(files.map((file) => file.name)).size).toBe(made.length);
});
