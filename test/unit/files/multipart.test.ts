import { Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MultipartError, receiveUpload } from "../../../gateway/server/files/multipart.ts";
import { normaliseName } from "../../../gateway/server/files/names.ts";
import { type FileStore, FileStoreError } from "../../../gateway/server/files/store.ts";
import { HOLDER } from "../../support/files/new-file.ts";
import { contentFiles, openStore, temporaryDirectory } from "../../support/files/store.ts";

const BOUNDARY = "--------------------------0123456789";
const TYPE = `multipart/form-data; boundary=${BOUNDARY}`;
const LIMITS = { maxFiles: 5, maxFileBytes: 100_000, holder: HOLDER };

interface Part {
  readonly field: string;
  readonly filename?: string;
  readonly type?: string;
  readonly content: string | Buffer;
}

function form(...parts: readonly Part[]): Buffer {
  const blocks = parts.flatMap(({ field, filename, type, content }) => [
    Buffer.from(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${field}"${
        filename === undefined ? "" : `; filename="${filename}"`
      }\r\n${type === undefined ? "" : `Content-Type: ${type}\r\n`}\r\n`,
    ),
    Buffer.from(content),
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([...blocks, Buffer.from(`--${BOUNDARY}--\r\n`)]);
}

const file = (filename: string, content: string | Buffer, type = "text/plain"): Part => ({
  field: "file",
  filename,
  type,
  content,
});

function inPieces(body: Buffer, size: number): Readable {
  return Readable.from(
    (function* () {
      for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
    })(),
    { objectMode: false },
  );
}

const receive = (store: FileStore, body: Buffer, pieces = 65_536, type = TYPE) =>
  receiveUpload(inPieces(body, pieces), type, store, LIMITS);

it.each([1, 7, 65_536])("reads fields and files from pieces of %i bytes", async (pieces) => {
  const store = await openStore();
  const upload = await receive(
    store,
    form(
      { field: "kind", content: "skill" },
      { field: "id", content: "pptx" },
      { field: "unknown", content: "ignored" },
      file("skills/pptx/ünï 日本.csv", "a,b\n", "text/csv"),
      file("say %22hi%22.txt", ""),
      { field: "version", content: "7" },
    ),
    pieces,
  );
  expect(upload.fields).toEqual({ kind: "skill", id: "pptx", version: "7" });
  expect(upload.parts).toMatchObject([
    { accepted: true, filename: "skills/pptx/ünï 日本.csv", contentType: "text/csv", staged: { size: 4 } },
    { accepted: true, filename: 'say "hi".txt', name: 'say "hi".txt', staged: { size: 0 } },
  ]);
  expect(upload.filesLimitReached).toBe(false);
});

it("keeps the client's spelling beside the stored name", async () => {
  const upload = await receive(await openStore(), form(file("e\u0301\u0009.txt", "x")));
  expect(upload.parts).toMatchObject([{ filename: "e\u0301\u0009.txt", name: "\u00e9_.txt" }]);
});

it("any name arrives as it was sent", async () => {
  const store = await openStore();
  // What form-data can put on the wire: no line breaks, quotes as %22; a backslash escapes in the header's grammar.
  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
    .filter((text) => !/[\r\n\\]|%22/.test(text) && text.isWellFormed());
  await fc.assert(
    fc.asyncProperty(name, async (sent) => {
      const upload = await receive(store, form(file(sent.replaceAll('"', "%22"), "x")));
      expect(upload.parts).toHaveLength(1);
      const expected = normaliseName(sent);
      expect(upload.parts[0]).toMatchObject(
        expected.ok
          ? { accepted: true, filename: sent, name: expected.name }
          : { accepted: false, filename: sent },
      );
    }),
    { numRuns: 100 },
  );
});

describe("one refused file", () => {
  it("leaves the others, and nothing of itself", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    const upload = await receive(
      store,
      form(
        file("a", "1"),
        file("large", Buffer.alloc(2_000_000)),
        file("../up", Buffer.alloc(300_000)),
        file("b", Buffer.alloc(100_000)),
      ),
    );
    expect(upload.parts).toMatchObject([
      { accepted: true, filename: "a" },
      { accepted: false, filename: "large", reason: "too_large", message: "File size limit exceeded" },
      { accepted: false, filename: "../up", reason: "bad_name" },
      { accepted: true, filename: "b", staged: { size: 100_000 } },
    ]);
    expect(await contentFiles(directory)).toHaveLength(2);
  });

  it("is read no further than the bound", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    let sent = 0;
    const block = Buffer.alloc(1024 * 1024);
    const endless = Readable.from(
      (function* () {
        yield form(file("x", "")).subarray(0, -BOUNDARY.length - 8);
        for (; ; sent += block.length) yield block;
      })(),
      { objectMode: false },
    );
    await expect(receiveUpload(endless, TYPE, store, LIMITS)).rejects.toMatchObject({ code: "too_large" });
    expect(sent).toBeLessThan(300 * 1024 * 1024);
    expect(await contentFiles(directory)).toEqual([]);
  });
});

it("stops at the number of files", async () => {
  const many = Array.from({ length: 7 }, (_, index) => file(`${index}`, "x"));
  const upload = await receive(await openStore(), form(...many));
  expect(upload.parts).toHaveLength(5);
  expect(upload.filesLimitReached).toBe(true);
});

describe("a form that ends early", () => {
  const whole = form({ field: "kind", content: "user" }, file("a", "done"), file("b", Buffer.alloc(90_000)));

  it.each([0, 10, 200, 330, 5000, whole.length - 20])(
    "after %i bytes is an error that leaves nothing",
    async (length) => {
      const directory = await temporaryDirectory();
      const store = await openStore({ directory });
      await expect(receive(store, whole.subarray(0, length))).rejects.toThrow(MultipartError);
      expect(await contentFiles(directory)).toEqual([]);
    },
  );

  it("because the client hung up leaves nothing either", async () => {
    const directory = await temporaryDirectory();
    const store = await openStore({ directory });
    const source = Readable.from(
      (async function* () {
        yield whole.subarray(0, 5000);
        throw Object.assign(new Error("aborted"), { code: "ECONNRESET" });
      })(),
      { objectMode: false },
    );
    await expect(receiveUpload(source, TYPE, store, LIMITS)).rejects.toThrow("the upload broke off");
    expect(await contentFiles(directory)).toEqual([]);
  });
});

it.each([
  ["application/json", "Content-Type must be multipart/form-data"],
  ["multipart/form-data", "Multipart: Boundary not found"],
])("%s is no form", async (type, message) => {
  await expect(receive(await openStore(), Buffer.from("{}"), 10, type)).rejects.toThrow(message);
});

it("a long field is refused", async () => {
  const body = form({ field: "id", content: "x".repeat(2000) });
  await expect(receive(await openStore(), body)).rejects.toThrow("the field id is too long");
});

it("a store that fails ends the upload", async () => {
  const store = await openStore();
  store.stage = () => Promise.reject(new FileStoreError("storage_full", "no space left"));
  const body = form(file("a", Buffer.alloc(5000)), file("b", Buffer.alloc(1_000_000)));
  await expect(receive(store, body)).rejects.toMatchObject({ code: "storage_full" });
});
