/** Order statistics against their definition, and against numbers that are known. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { median, summarise, timed, timedEach } from "../../bench/statistics.ts";

const hundred = Array.from({ length: 100 }, (_, n) => 100 - n);

it("summarises in any order", () => {
  expect(summarise(hundred)).toEqual({ count: 100, p50: 51, p99: 100 });
  expect(summarise([7])).toEqual({ count: 1, p50: 7, p99: 7 });
  expect(summarise([]).p50).toBeNaN();
});

it("has as many values below the median as above it", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(median([])).toBeNaN();
  fc.assert(
    fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
      const middle = median(values);
      const below = values.filter((value) => value < middle).length;
      const above = values.filter((value) => value > middle).length;
      expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2);
    }),
  );
});

it("leaves what it is given as it was", () => {
  const given = [3, 1, 2];
  median(given);
  summarise(given);
  expect(given).toEqual([3, 1, 2]);
});

it("a call that fails is no duration", async () => {
  await expect(timed(() => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
  const seen: number[] = [];
  const failsAtTwo = async (n: number) => {
    seen.push(n);
    if (n === 2) throw new Error("refused");
  };
  await expect(timedEach(5, failsAtTwo)).rejects.toThrow("refused");
  expect(seen).toEqual([0, 1, 2]);
});
