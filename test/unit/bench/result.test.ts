/** Runs become figures, figures are judged, rows take the place of earlier ones. */
import { describe, expect, it } from "vitest";
import { readBenchRequest } from "../../bench/request.ts";
import { combine, meets, merge, middleOf, reasonOf, withUnit } from "../../bench/result.ts";
import { figure, p50, times } from "../../bench/row.ts";
import { FURTHER_ROWS, ROWS } from "../../bench/rows/all.ts";
import { rowText } from "../../bench/text.ts";
import { measuredFigure, measuredResult, measuredRow } from "./measured.ts";

describe("figures", () => {
  it("nothing measured is no figure", () => {
    expect(() => p50("p50", [])).toThrow("p50: nothing was measured");
    expect(() => figure("of nothing", 1 / 0, "×")).toThrow("nothing was measured");
  });

  it.each([
    [{ atMost: 1 }, 1, true],
    [{ atMost: 1 }, 1.01, false],
    [{ atLeast: 85 }, 85, true],
    [{ atLeast: 85 }, 84.9, false],
  ])("%j is met by %d: %s", (goal, value, expected) => {
    expect(meets(measuredFigure("f", [value], { goal }))).toBe(expected);
  });

  it("one without a goal is neither met nor missed", () => {
    expect(meets(measuredFigure("f", [1]))).toBeNull();
  });

  it.each([
    [0.4123, "ms", "0.41 ms"],
    [12.34, "ms", "12.3 ms"],
    [1234.5, "ms", "1235 ms"],
    [99.999, "%", "100.0 %"],
    [441.7, "sessions", "442 sessions"],
  ] as const)("%d %s is written %s", (value, unit, expected) => {
    expect(withUnit(value, unit)).toBe(expected);
  });
});

describe("runs", () => {
  const run = (value: number) => [
    p50("p50", [value], { goal: { atMost: 2 }, ratio: times(value, "raw", 1) }),
    p50("raw", [1]),
  ];

  it("the middle one of several counts, with its ratio; results are added", () => {
    const [own, raw] = combine([run(9), run(1), run(2)]);
    expect(own).toEqual({
      name: "p50",
      unit: "ms",
      values: [9, 1, 2],
      count: 3,
      ratio: { of: "raw", value: 2 },
      goal: { atMost: 2 },
    });
    expect(own && middleOf(own)).toBe(2);
    expect(own && meets(own)).toBe(true);
    expect(raw?.values).toEqual([1, 1, 1]);
  });

  it("all of them have the same figures", () => {
    expect(() => combine([run(1), [p50("raw", [1])]])).toThrow("a run has no figure p50");
  });
});

describe("reasons", () => {
  const because = (of: (name: string) => string) => `the floor is ${of("floor")}, ${of("unknown")}`;
  const goal = { atMost: 1 };

  it("are told with figures of the run, where a goal is missed", () => {
    const figures = [measuredFigure("p50", [2], { goal }), measuredFigure("floor", [0.4])];
    expect(reasonOf({ because }, figures)).toBe("the floor is 0.40 ms, –");
  });

  it("are not told where all are met", () => {
    expect(reasonOf({ because }, [measuredFigure("p50", [1], { goal })])).toBeNull();
  });

  it("every row's names figures in the row's own words", () => {
    for (const row of ROWS) expect(() => row.because(() => "1 ms")).not.toThrow();
  });
});

it("a row takes the place of the earlier one and keeps its order", () => {
  const [old, other, now] = [
    measuredRow("warm", [measuredFigure("p50", [9])]),
    measuredRow("wake", []),
    measuredRow("warm", [measuredFigure("p50", [1])]),
  ];
  const merged = merge(measuredResult([other, old]), measuredResult([now]), ["warm", "wake"]);
  expect(merged.rows).toEqual([now, other]);
});

it("nothing is kept of another machine", () => {
  const [there, here] = [
    measuredResult([measuredRow("wake", [])]),
    measuredResult([measuredRow("warm", [])]),
  ];
  const machine = { ...there.machine, cpus: there.machine.cpus + 1 };
  expect(merge({ ...there, machine }, here, ["warm", "wake"]).rows).toEqual(here.rows);
});

it("a row is printed with figure, ratio, goal, outcome and spread", () => {
  const row = {
    ...measuredRow("warm", [
      measuredFigure("p50", [2, 1, 4], { ratio: { of: "raw stream", value: 2 }, goal: { atMost: 1 } }),
      measuredFigure("raw stream", [1, 1, 1]),
    ]),
    because: "the floor is 1 ms",
  };
  const [head, own, raw, reason] = rowText(row)
    .split("\n")
    .map((line) => line.replaceAll(/ +/g, " "));
  expect(head).toBe("warm: the row warm (12 s, load 1.5 → 2.5, CPUs 40 % busy, 0 % stolen)");
  expect(own).toBe(" p50 2.00 ms 2.00 × raw stream ≤ 1.00 ms not met 1.00 ms … 4.00 ms");
  expect(raw).toBe(" raw stream 1.00 ms 1.00 ms … 1.00 ms");
  expect(reason).toBe(" not met because: the floor is 1 ms");
});

describe("npm run bench --", () => {
  const read = (...words: string[]) => readBenchRequest(words, ["warm", "wake"], ["fleet"]);

  it("measures the usual rows, or those that are named", () => {
    const usual = { runs: 1, quick: false, reference: false };
    expect(read()).toEqual({ names: ["warm", "wake"], ...usual });
    expect(read("fleet", "--runs", "3", "warm")).toEqual({ ...usual, names: ["fleet", "warm"], runs: 3 });
    expect(read("--quick", "--reference")).toMatchObject({ quick: true, reference: true });
  });

  it.each([[["cold"]], [["--runs"]], [["--runs", "0"]], [["--runs", "1.5"]], [["--fast"]]])(
    "%j is told what to write",
    (words) => {
      expect(() => read(...words)).toThrow(/There is no row .*warm, wake, fleet|--runs takes a whole number/);
    },
  );

  it("every row has a name of its own", () => {
    const names = [...ROWS, ...FURTHER_ROWS].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.join(" ")).toMatch(/^[a-z ]+$/);
  });
});
