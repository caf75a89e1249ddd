/** What JSON from outside may cost, before and while it is read. */
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { JsonReader } from "../../../gateway/server/bounds/json-reader.ts";
import { boundedArray, readBySchema } from "../../../gateway/server/bounds/json-reading.ts";
import { measureJson, Unreadable } from "../../../gateway/server/bounds/json-shape.ts";
import { EXEC_BODY } from "../../../gateway/server/http/requests/exec.ts";
import { PROGRAMMATIC_BODY } from "../../../gateway/server/http/requests/programmatic.ts";

const LIMITS = { bytes: 1000, elements: 10, depth: 3 };
const measure = (text: string) => measureJson(Buffer.from(text), LIMITS);
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

describe("the shape of a JSON text", () => {
  it.each([
    ["1", 1],
    ["[]", 2],
    ["[1,2,3]", 4],
    ['{"a":1,"b":[]}', 4],
    ['"[[[[,,,,,,,,,,,,,,"', 1],
    [String.raw`"\"[[[[\\"`, 1],
    [String.raw`["\\","\""]`, 3],
  ])("%s has %i elements", (text, elements) => expect(measure(text)).toBe(elements));

  it.each([
    ["bytes", " ".repeat(1001), /exceeds 1000 bytes/],
    ["elements", "[1,1,1,1,1,1,1,1,1,1]", /more than 10 elements/],
    ["empty objects", "[{},{},{},{},{},{}]", /more than 10 elements/],
    ["members", `{${"1,".repeat(10)}`, /more than 10 elements/],
    ["depth", "[[[[", /deeper than 3/],
    ["depth of objects", '{"a":{"a":{"a":{', /deeper than 3/],
    ["closing what was never opened", `${"]".repeat(20)}${"[".repeat(40)}`, /more than 10 elements/],
  ])("too many %s are refused", (_what, text, words) => {
    expect(() => measure(text)).toThrow(Unreadable);
    expect(() => measure(text)).toThrow(words);
  });

  it("a number beyond all measure is refused", () => {
    const limits = { bytes: 1e6, elements: 10, depth: 3 };
    expect(() => measureJson(Buffer.from("1".repeat(2000)), limits)).toThrow(/more than 1024 characters/);
    expect(measureJson(Buffer.from(`"${"1".repeat(2000)}"`), limits)).toBe(1);
  });

  it("an unfinished text is measured to its end", () => {
    for (const text of ['"\\', '"abc', "[", '{"a"', ""]) expect(measure(text)).toBeLessThanOrEqual(2);
  });
});

describe("an array whose length is bounded", () => {
  it("is looked at before its elements are", () => {
    let looked = 0;
    const element = z.unknown().refine(() => {
      looked += 1;
      return true;
    });
    const schema = z.object({ list: boundedArray(element, 3) });
    expect(() => readBySchema(schema, { list: [1, 2, 3, 4] })).toThrow(
      "`list` has 4 entries; at most 3 are accepted",
    );
    expect(looked).toBe(0);
    expect(readBySchema(schema, { list: [1, 2] })).toEqual({ list: [1, 2] });
  });
});

describe("the reader", () => {
  const readers: JsonReader[] = [];
  afterEach(() => Promise.all(readers.splice(0).map((reader) => reader.close())));
  const open = (heapMib = 128) => {
    const reader = new JsonReader({ kinds: [EXEC_BODY, PROGRAMMATIC_BODY], heapMib });
    readers.push(reader);
    return reader;
  };
  const call = (more: object = {}) => JSON.stringify({ lang: "py", code: "1", ...more });

  it("reads small texts and large ones alike", async () => {
    const reader = open();
    const code = "é".repeat(2_000_000);
    const texts = [call(), call({ code }), call({ other: Array.from({ length: 30_000 }, () => 0) })];
    const read = await Promise.all(texts.map((text) => reader.read(EXEC_BODY, bytes(text))));
    expect(read.map(({ code: { length } }) => length)).toEqual([1, code.length, 1]);
  });

  it.each([
    ["no JSON", (size: number) => `{"code":"${"x".repeat(size)}`, "bad_request", /not JSON/],
    ["no UTF-8", (size: number) => `{"code":"\u00ff${"x".repeat(size)}"}`, "bad_request", /not JSON/],
    [
      "a wrong field",
      (size: number) => call({ code: "x".repeat(size), lang: 7 }),
      "bad_request",
      /`lang` must be/,
    ],
    [
      "too many elements",
      (size: number) => `[${"1,".repeat(40_000 + size)}1]`,
      "too_large",
      /40000 elements/,
    ],
    [
      "a million arguments",
      (size: number) => call({ args: Array.from({ length: 17_000 }, () => 1), code: "x".repeat(size) }),
      "bad_request",
      /`args` has 17000 entries; at most 16384/,
    ],
  ])("refuses %s in the same words, small or large", async (_what, make, code, words) => {
    const reader = open();
    for (const size of [0, 100_000]) {
      const latin1 = Buffer.from(make(size), "latin1");
      const refused = await reader.read(EXEC_BODY, new Uint8Array(latin1)).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Unreadable);
      expect(refused).toMatchObject({ code, message: expect.stringMatching(words) });
    }
  });

  it("loses a thread to a text that needs more memory than it has, and reads the next with a new one", async () => {
    const reader = open(16);
    const monster = JSON.stringify({ continuation_token: "t", tool_results: [], x: Array(240_000).fill({}) });
    const [refused, next] = await Promise.all([
      reader.read(PROGRAMMATIC_BODY, bytes(monster)).catch((error: unknown) => error),
      reader.read(EXEC_BODY, bytes(call({ code: "x".repeat(100_000) }))),
    ]);
    expect(refused).toMatchObject({ code: "too_large", message: expect.stringContaining("more memory") });
    expect(next.code).toHaveLength(100_000);
  });

  it("comes after everybody else where CPUs are short, and nobody else does", async () => {
    // The nineteenth field of proc_pid_stat(5); the second is in brackets, and may have blanks.
    const niceOf = (stat: string) => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
    const threads = () =>
      new Map(
        readdirSync("/proc/self/task").map((id) => [
          id,
          niceOf(readFileSync(`/proc/self/task/${id}/stat`, "utf8")),
        ]),
      );
    const before = threads();
    await open().start();
    const after = [...threads()];
    expect(after.filter(([id]) => !before.has(id)).map(([, nice]) => nice)).toContain(10);
    expect(after.filter(([id, nice]) => before.has(id) && before.get(id) !== nice)).toEqual([]);
  });

  it("does not hold up this thread while it reads", async () => {
    const reader = open();
    await reader.start();
    const wide = `{"continuation_token":"t","tool_results":[],"x":[${"{},".repeat(490_000)}{}]}`;
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 1);
    onTestFinished(() => clearInterval(turning));
    await reader.read(PROGRAMMATIC_BODY, bytes(wide)).catch(() => {});
    expect(turns).toBeGreaterThan(3);
  });
});
