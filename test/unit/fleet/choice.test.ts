import { describe, expect, it } from "vitest";
import { betterOfTwo, takerOf } from "../../../gateway/server/fleet/choice.ts";

const host = (id: string, free: number, state = "up") => ({ id, free, state });
/** One after the other, from 0 to below 1. */
const drawn = (...numbers: readonly number[]) => {
  const left = [...numbers];
  return () => left.shift() ?? 0;
};

describe("the better of two other hosts", () => {
  const hosts = [host("here", 9), host("a", 1), host("b", 5), host("c", 7, "draining")];

  it("has more room, is another one, and takes sessions", () => {
    expect(betterOfTwo(hosts, "here", drawn(0, 0.9))?.id).toBe("b");
    expect(betterOfTwo(hosts, "here", drawn(0.9, 0))?.id).toBe("b");
    expect(betterOfTwo(hosts, "here", drawn(0, 0))?.id).toBe("a");
  });

  it("is nobody where there is no other", () => expect(betterOfTwo([host("here", 9)], "here")).toBeNull());
});

describe("who takes what nobody has", () => {
  const mine = (free: number, mayTake = true) => ({ id: "here", free, mayTake });
  const other = (free: number) => () => host("a", free);

  it.each([
    ["this host while it has room", takerOf(mine(1), other(9)), "here"],
    ["another one with room, when this one has none", takerOf(mine(0), other(1)), "a"],
    ["this host when no other has room either", takerOf(mine(0), other(0)), "here"],
    ["this host when it is the only one", takerOf(mine(0), () => null), "here"],
    ["another one, full or not, when this one may not", takerOf(mine(5, false), other(0)), "a"],
    ["nobody when this one may not and is the only one", takerOf(mine(5, false), () => null), null],
  ])("is %s", (_, taker, expected) => expect(taker).toBe(expected));
});
