/** A file of the audit log without somebody. */
import { describe, expect, it } from "vitest";
import { erased } from "../../../gateway/server/audit/lines.ts";
import { line } from "../../support/audit-entries.ts";

async function without(text: string, user: string | null, policy: "anonymous" | "remove", pieces = 7) {
  const bytes = (async function* () {
    const all = Buffer.from(text);
    for (let at = 0; at < all.length; at += pieces) yield all.subarray(at, at + pieces);
  })();
  let count = 0;
  const parts: Uint8Array[] = [];
  for await (const part of erased(bytes, { tenant: "jwt-t", user }, policy, () => {
    count += 1;
  })) {
    parts.push(part);
  }
  return { count, text: Buffer.concat(parts).toString() };
}

const OTHERS = `${line("bob")}\n${line("alice", { tenant: "jwt-other" })}${line("alice", { auth: "api-key" })}no entry\n`;

describe("a file after an erasure", () => {
  it.each([1, 7, 100_000])("in pieces of %i bytes has all others' lines as they were", async (pieces) => {
    const text = `${line("alice")}${OTHERS}${line("alice")}`;
    expect(await without(text, "alice", "remove", pieces)).toEqual({ count: 2, text: OTHERS });
    const anonymous = await without(text, "alice", "anonymous", pieces);
    expect(anonymous.count).toBe(2);
    expect(anonymous.text).toContain(OTHERS);
    expect(anonymous.text.split("\n").filter((one) => one.includes('"subject":"erased"'))).toHaveLength(2);
    expect(anonymous.text.split("of-alice")).toHaveLength(OTHERS.split("of-alice").length);
  });

  it("has nothing of a whole tenant", async () => {
    const { count, text } = await without(`${line("alice")}${OTHERS}`, null, "remove");
    expect(count).toBe(3);
    expect(text).toBe(`\n${line("alice", { tenant: "jwt-other" })}no entry\n`);
  });

  it("knows names that JSON writes in another way, or that have line ends of their own", async () => {
    for (const name of ['a"b\\c', "line\u2028end", "日本", "\ud800"]) {
      const text = `${line(name)}${line("bob")}`;
      expect(await without(text, name, "remove")).toEqual({ count: 1, text: line("bob") });
    }
  });

  it("does not keep half a line of theirs, at the end or in the middle", async () => {
    const half = line("alice").slice(0, 200);
    const text = `${half}\n${line("bob")}${half}`;
    expect(await without(text, "alice", "anonymous")).toEqual({ count: 2, text: line("bob") });
  });

  it("takes a line without an end in pieces", async () => {
    const text = `${"x".repeat(5 * 1024 * 1024)}\n${line("alice")}${line("bob")}`;
    const { count, text: left } = await without(text, "alice", "remove", 65_536);
    expect(count).toBe(1);
    expect(left).toBe(`${"x".repeat(5 * 1024 * 1024)}\n${line("bob")}`);
  });
});
