import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { needsOf, readRequest, WrongUse } from "../../runner/request.ts";
import { RING_NAMES } from "../../runner/rings.ts";

const ROOT = join(import.meta.dirname, "../../..");
const read = (...words: string[]) => readRequest(words, ROOT);

describe("what npm test is asked for", () => {
  it("is everything where nothing is named", () => {
    expect(read()).toEqual({ rings: RING_NAMES, files: [], options: [], whole: true });
  });

  it("is rings, from quick to slow", () => {
    expect(read("attack", "unit")).toEqual({
      rings: ["unit", "attack"],
      files: [],
      options: [],
      whole: false,
    });
  });

  it("is a file or folder, from wherever it is named", () => {
    const file = "test/unit/runner/request.test.ts";
    const wanted = { rings: ["unit"], files: [file], options: [], whole: false };
    expect(read(file)).toEqual(wanted);
    expect(readRequest(["request.test.ts"], import.meta.dirname)).toEqual(wanted);
    expect(readRequest([file], "/")).toEqual(wanted);
    expect(read("test/protocol")).toMatchObject({ rings: ["protocol"], files: ["test/protocol"] });
  });

  it("is a test by its name: Vitest's own options go through, with their values", () => {
    expect(read("unit", "-t", "contract", "-u")).toEqual({
      rings: ["unit"],
      files: [],
      options: ["-t", "contract", "-u"],
      whole: false,
    });
    expect(read("-t", "a name")).toMatchObject({
      rings: RING_NAMES,
      options: ["-t", "a name"],
      whole: false,
    });
  });

  it.each([["untit"], ["test/unit/gone.test.ts"], ["gateway/server"], ["test/bench/main.ts"]])(
    "is refused in words where it is neither: %s",
    (word) => {
      expect(() => read(word)).toThrow(WrongUse);
      expect(() => read(word)).toThrow(/unit, fleet, protocol, attack/);
    },
  );

  it("is a ring and a file of another", () => {
    expect(read("attack", "test/unit/runner")).toMatchObject({
      rings: ["unit", "attack"],
      files: ["test/attack/", "test/unit/runner"],
    });
  });
});

describe("what is set up", () => {
  it("is nothing for the unit ring, and Python alone for the protocol", () => {
    expect(needsOf(["unit"])).toEqual([]);
    expect(needsOf(["unit", "protocol"])).toEqual(["python"]);
  });

  it("is each thing once", () => {
    const needs = needsOf(RING_NAMES);
    expect(new Set(needs).size).toBe(needs.length);
    expect(needs).toContain("image");
  });
});
