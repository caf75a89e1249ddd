import { describe, expect, test } from "vitest";
import { boundsFor, Demand } from "../../../gateway/server/sessions/demand.ts";

const MINUTE = 60_000;

function burst(demand: Demand, calls: number, at: number): void {
  for (let i = 0; i < calls; i++) demand.arrived(at + i * 100);
}

describe("the pool's size", () => {
  test("is the usual one until a burst comes, follows it, and forgets it slowly", () => {
    const demand = new Demand({ least: 2, most: 16 });
    expect(demand.wanted(0)).toBe(2);
    burst(demand, 10, 1000);
    expect(demand.wanted(2000)).toBe(10);
    expect(demand.wanted(11 * MINUTE)).toBe(5);
    expect(demand.wanted(60 * MINUTE)).toBe(2);
  });

  test("does not grow by calls that leave time to replace what they took", () => {
    const demand = new Demand({ least: 2, most: 16 });
    for (let i = 0; i < 50; i++) demand.arrived(i * 11_000);
    expect(demand.wanted(50 * 11_000)).toBe(2);
  });

  test("stays within what the host can hold, whatever comes", () => {
    const demand = new Demand({ least: 2, most: 4 });
    burst(demand, 1000, 0);
    expect(demand.wanted(1000)).toBe(4);
    demand.bound({ least: 0, most: 0 });
    burst(demand, 10, 2000);
    expect(demand.wanted(3000)).toBe(0);
  });

  test.each([
    [0, { least: 1, most: 1 }],
    [3, { least: 1, most: 1 }],
    [8, { least: 2, most: 4 }],
    [37, { least: 6, most: 18 }],
    [400, { least: 6, most: 200 }],
  ])("on a host of %i sandboxes has bounds", (capacity, bounds) => {
    expect(boundsFor(capacity)).toEqual(bounds);
  });
});
