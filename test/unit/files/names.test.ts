import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  contentDisposition,
  decodePartFilename,
  MAX_NAME_BYTES,
  MAX_SEGMENT_BYTES,
  MAX_SEGMENTS,
  normaliseName,
  objectExtension,
} from "../../../gateway/server/files/names.ts";

const segment = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
  fc.constantFrom(
    ".",
    "..",
    "",
    " ",
    "e\u0301",
    "\u00e9",
    "%22",
    '"',
    "\\",
    "日本",
    "👩‍👩‍👧",
    "a\u0000b",
    "\r\n",
    "\ud800",
  ),
);
const path = fc.array(segment, { minLength: 1, maxLength: 6 }).map((segments) => segments.join("/"));

describe("any name, once normalised,", () => {
  it("is a relative path in NFC without control characters, within the limits", () => {
    fc.assert(
      fc.property(path, (raw) => {
        const result = normaliseName(raw);
        if (!result.ok) return;
        const { name } = result;
        expect(name).toBe(name.normalize("NFC"));
        expect(name.isWellFormed()).toBe(true);
        expect(/\p{Cc}/u.test(name)).toBe(false);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MAX_NAME_BYTES);
        for (const part of name.split("/")) {
          expect(["", ".", ".."]).not.toContain(part);
          expect(Buffer.byteLength(part)).toBeLessThanOrEqual(MAX_SEGMENT_BYTES);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("is never changed again", () => {
    fc.assert(
      fc.property(path, (raw) => {
        const once = normaliseName(raw);
        if (once.ok) expect(normaliseName(once.name)).toEqual(once);
      }),
      { numRuns: 2000 },
    );
  });

  it("is the same for composed and decomposed spellings", () => {
    fc.assert(
      fc.property(path, (raw) => {
        fc.pre(raw.isWellFormed());
        expect(normaliseName(raw.normalize("NFD"))).toEqual(normaliseName(raw.normalize("NFC")));
      }),
      { numRuns: 2000 },
    );
  });

  it("is read back exactly from the download header", () => {
    fc.assert(
      fc.property(path, (raw) => {
        const result = normaliseName(raw);
        if (!result.ok) return;
        const header = contentDisposition(result.name);
        expect(header).toMatch(/^attachment; filename\*=UTF-8''[A-Za-z0-9!#$&+.^_`|~%-]+$/);
        expect(decodeURIComponent(header.split("''")[1] ?? "")).toBe(result.name);
      }),
      { numRuns: 2000 },
    );
  });
});

it.each([
  ["a.txt", "a.txt"],
  ["skills/pptx/ünï 日本.csv", "skills/pptx/ünï 日本.csv"],
  ["e\u0301.txt", "\u00e9.txt"],
  ['say "hi".txt', 'say "hi".txt'],
  [" spaces kept ", " spaces kept "],
  [".hidden/..still fine", ".hidden/..still fine"],
  ["tab\tand\nnewline", "tab_and_newline"],
  ["back\\slash", "back\\slash"],
])("accepts %j as %j", (raw, name) => {
  expect(normaliseName(raw)).toEqual({ ok: true, name });
});

it.each([
  [""],
  ["/etc/passwd"],
  ["../up"],
  ["a/../b"],
  ["a/./b"],
  ["a//b"],
  ["a/"],
  ["\ud800"],
  ["x".repeat(MAX_SEGMENT_BYTES + 1)],
  ["é".repeat(128)],
  [`${"x".repeat(200)}/`.repeat(6)],
  [Array.from({ length: MAX_SEGMENTS + 1 }, () => "d").join("/")],
  ["x".repeat(1_000_000)],
])("refuses %j", (raw) => {
  expect(normaliseName(raw)).toMatchObject({ ok: false, reason: expect.any(String) });
});

it("reads a quote from a multipart file name", () => {
  expect(decodePartFilename("say %22hi%22 100%.txt")).toBe('say "hi" 100%.txt');
});

it.each([
  ["a.tar.gz", ".gz"],
  ["dir.d/plain", ""],
  [".bashrc", ""],
  ["x/.bashrc", ""],
  ["a.日本", ""],
  ["A.PNG", ".PNG"],
])("the object key of %j ends in %j", (name, extension) => {
  expect(objectExtension(name)).toBe(extension);
});
