import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  filesDigest,
  isLeftOut,
  listedFiles,
  parsePatterns,
} from "../../../sandbox-image/tools/build-context.ts";

describe("a list of left-out files", () => {
  it("is read as the builder reads it: the last pattern that matches the path or a folder above it decides", () => {
    const patterns = parsePatterns(
      "*\n!gateway\n!infra\ninfra/*\n!infra/parts\n**/node_modules\n/docs/\n# comment\n\ngateway/?.ts\n**/.*\n!.npmrc\n",
    );
    const out = (path: string) => isLeftOut(path, patterns);
    expect(out("README.md")).toBe(true);
    expect(out(".git/config")).toBe(true);
    expect(out("gateway/server/main.ts")).toBe(false);
    expect(out("infra/targets/aws/stack.ts")).toBe(true);
    expect(out("infra/parts/machine.ts")).toBe(false);
    expect(out("gateway/node_modules/x.js")).toBe(true);
    expect(out("node_modules/x.js")).toBe(true);
    expect(out("gateway/a.ts")).toBe(true);
    expect(out("gateway/ab.ts")).toBe(false);
    expect(out("gateway/deep/.cache/x")).toBe(true);
    expect(out(".npmrc")).toBe(false);
  });
});

describe("listed files", () => {
  let folder: string;
  const put = (path: string, text = path) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "kernelyard-listed-"));
    for (const path of ["b.ts", "a/x.ts", "a/deep/y.ts", "c/z.ts"]) put(path);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("are all without a list, and go as deep as the list lets them", () => {
    const list = join(folder, ".dockerignore");
    expect(listedFiles(folder, list)).toEqual(["a/deep/y.ts", "a/x.ts", "b.ts", "c/z.ts"]);
    put(".dockerignore", "*\n!a/deep\n!b.ts\n");
    expect(listedFiles(folder, list)).toEqual(["a/deep/y.ts", "b.ts"]);
  });

  it("must be there when the list names them", () => {
    put(".dockerignore", "*\n!gone.ts\n!*.none\n");
    expect(() => listedFiles(folder, join(folder, ".dockerignore"))).toThrow("asks for `gone.ts`");
  });

  it("have a digest over words, names and contents", () => {
    const before = filesDigest(folder, ["a/x.ts", "b.ts"], ["base"]);
    expect(filesDigest(folder, ["a/x.ts"], ["base"])).not.toBe(before);
    expect(filesDigest(folder, ["a/x.ts", "b.ts"], ["other"])).not.toBe(before);
    put("b.ts", "changed");
    expect(filesDigest(folder, ["a/x.ts", "b.ts"], ["base"])).not.toBe(before);
    put("b.ts", "b.ts");
    expect(filesDigest(folder, ["a/x.ts", "b.ts"], ["base"])).toBe(before);
  });
});
