import { describe, expect, it } from "vitest";
import { OutputBuffer } from "../../../gateway/server/kernel/output-buffer.ts";

function collect(limit: number, ...pieces: (string | Buffer)[]) {
  const buffer = new OutputBuffer(limit);
  for (const piece of pieces) buffer.push(Buffer.from(piece));
  return buffer;
}

describe("OutputBuffer", () => {
  it("puts characters together that were cut between pieces", () => {
    const bytes = Buffer.from("日本");
    expect(collect(100, bytes.subarray(0, 2), bytes.subarray(2)).text()).toEqual({
      text: "日本",
      cut: false,
    });
  });

  it("replaces bytes that are no UTF-8 and keeps a byte order mark", () => {
    expect(collect(100, Buffer.from([0x61, 0xff, 0x62])).text().text).toBe("a\ufffdb");
    expect(collect(100, "\ufeffx").text().text).toBe("\ufeffx");
  });

  it("counts UTF-16 units and never leaves half a character", () => {
    expect(collect(3, "abcd").text()).toEqual({ text: "abc", cut: true });
    expect(collect(3, "ab😀").text()).toEqual({ text: "ab", cut: true });
    expect(collect(4, "ab😀").text()).toEqual({ text: "ab😀", cut: false });
  });

  it("keeps no more than its limit however much comes", () => {
    const buffer = collect(10, "x".repeat(1_000_000), "y".repeat(1_000_000));
    expect(buffer.received).toBe(2_000_000);
    expect(buffer.text()).toEqual({ text: "x".repeat(10), cut: true });
  });
});
