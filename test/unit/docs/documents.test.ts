/** Documents name only what exists: links, paths, npm scripts, rings and tests. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { readRequest } from "../../runner/request.ts";
import { filesBelow, ROOT, readDocument } from "../../support/documents.ts";

const files = filesBelow();
const documents = files.filter((path) => path.endsWith(".md") && !path.includes("/fixtures/"));
const tops = new Set(files.map((path) => path.split("/")[0] ?? ""));
/** What a path of this project ends with when its folder is left out, as in `lineage.ts`. */
const SOURCE = /\.(ts|py|sh|md|rce)$/;
const PATH = /^(?!\.[a-z]+$)[\w@.-]+(\/[\w@.-]+)*\/?$/;

function exists(path: string, document: string): boolean {
  const clean = normalize(path).replace(/\/$/, "");
  return (
    existsSync(join(ROOT, clean)) ||
    existsSync(join(ROOT, dirname(document), clean)) ||
    files.some((file) => file.endsWith(`/${clean}`) || `/${file}`.includes(`/${clean}/`))
  );
}

/** Code in the text and in tables; blocks are for machines. */
const inlineCode = (text: string) =>
  [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? "");

/** What looks like a path of this project: it begins with one of its folders, or ends like its sources. */
const paths = (text: string) =>
  inlineCode(text).filter(
    (code) =>
      PATH.test(code) && ((code.includes("/") && tops.has(code.split("/")[0] ?? "")) || SOURCE.test(code)),
  );

describe.each(documents)("%s", (document) => {
  const text = readDocument(document);

  it("links only to what is there", () => {
    const links = [...text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g)].map(([, link]) => link ?? "");
    expect(links.filter((link) => !existsSync(join(ROOT, dirname(document), link)))).toEqual([]);
  });

  it("names only paths that are there", () => {
    expect(paths(text).filter((path) => !exists(path, document))).toEqual([]);
  });

  it("names only npm scripts that are there, and rings and tests that npm test takes", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    for (const [, name] of text.matchAll(/npm run ([a-z-]+)/g)) expect(scripts).toHaveProperty([name ?? ""]);
    for (const [, words = ""] of text.matchAll(/npm test -- ([^`\n#|]+)/g)) {
      if (words.includes("…")) continue;
      expect(() => readRequest(split(words), ROOT), words).not.toThrow();
    }
  });
});

/** Words of a command line; quotes hold one together. */
function split(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

it("finds a path that is not there", () => {
  expect(paths("`gateway/nowhere/x.ts` and `lineage.ts` and `a/b` and `KERNELYARD_AUTH`")).toEqual([
    "gateway/nowhere/x.ts",
    "lineage.ts",
  ]);
  expect(exists("gateway/nowhere/x.ts", "README.md")).toBe(false);
  expect(exists("nowhere.ts", "README.md")).toBe(false);
  expect(exists("lineage.ts", "README.md")).toBe(true);
});
