import { describe, expect, it } from "vitest";
import { count, type FileResult, timeTable } from "../../runner/results.ts";

const file = (changes: Partial<FileResult>): FileResult => ({
  ring: "unit",
  file: "test/unit/a.test.ts",
  seconds: 1,
  passed: 2,
  failed: 0,
  skipped: 0,
  broken: false,
  ...changes,
});

describe("the count of a run", () => {
  it("adds up its files", () => {
    expect(count({ files: [file({}), file({ failed: 1, broken: true, skipped: 3 })], unhandled: 0 })).toEqual(
      {
        passed: 4,
        failed: 1,
        skipped: 3,
      },
    );
  });

  it("has a failure for a file that could not load, and for an error of no test", () => {
    expect(count({ files: [file({ passed: 0, broken: true })], unhandled: 2 }).failed).toBe(3);
  });
});

describe("the times of a run", () => {
  it("are told by ring, and of the slowest files", () => {
    const files = [
      file({}),
      file({ ring: "attack", file: "test/attack/b.test.ts", seconds: 30.26, passed: 5 }),
    ];
    expect(timeTable({ files, unhandled: 0 }, 21)).toEqual([
      "ring         files  tests  seconds",
      "unit             1      2        1",
      "attack           1      5       30",
      "31 s of work in 21 s. The slowest files:",
      "   30.3 s  test/attack/b.test.ts",
      "    1.0 s  test/unit/a.test.ts",
    ]);
  });

  it("are not told of one file", () => {
    expect(timeTable({ files: [file({})], unhandled: 0 }, 1)).toEqual([]);
  });
});
