/** The drawing is well-formed, shows what was measured in its place, and nothing that was not. */
import { expect, it } from "vitest";
import { performanceDocument } from "../../bench/document.ts";
import { drawing } from "../../bench/drawing.ts";
import { measuredFigure, measuredResult, measuredRow } from "./measured.ts";

const warm = (ms: number, goal = 1) =>
  measuredRow("warm", [measuredFigure("p50", [ms], { goal: { atMost: goal } })]);
const xs = (svg: string, mark: string) => [...svg.matchAll(new RegExp(mark, "g"))].map(([, x]) => Number(x));
const dots = (svg: string) => xs(svg, '<circle class="ours" cx="([\\d.]+)" cy="\\d+" r="6"');
const goals = (svg: string) => xs(svg, '<line class="goal" x1="([\\d.]+)" y1="\\d+" x2="\\1"').slice(1);

it("a decade is as wide as the next one", () => {
  const [one, ten, hundred] = [1, 10, 100].map((ms) => dots(drawing(measuredResult([warm(ms)])))[0] ?? 0);
  expect((ten ?? 0) - (one ?? 0)).toBeCloseTo((hundred ?? 0) - (ten ?? 0), 0);
  expect((ten ?? 0) - (one ?? 0)).toBeGreaterThan(50);
});

it("a figure that is its goal stands on it; what is outside the axis is at its end", () => {
  const at = drawing(measuredResult([warm(1, 1)]));
  expect(goals(at)).toEqual(dots(at));
  const far = drawing(measuredResult([warm(1e9)]));
  expect(dots(far)[0]).toBeLessThan(760);
});

it("shows the value beside it, seconds as seconds, and only rows that were measured", () => {
  const svg = drawing(
    measuredResult([
      warm(2.345),
      measuredRow("empty", [measuredFigure("cold start (checkpoints off), p50", [2345])]),
    ]),
  );
  expect(svg).toContain(">2.35 ms<");
  expect(svg).toContain(">2.35 s<");
  expect(svg).not.toContain("docker run");
  expect(dots(svg)).toHaveLength(1);
});

it("every element that is opened is closed", () => {
  const svg = drawing(measuredResult([warm(2)]));
  const open: string[] = [];
  for (const [, slash, name = "", self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (slash === "/") expect(open.pop()).toBe(name);
    else if (self !== "/") open.push(name);
  }
  expect(open).toEqual([]);
  expect(svg).toContain("prefers-color-scheme: dark");
});

it("the page has goals with their outcome, what bounds them, and sessions per GiB", () => {
  const page = performanceDocument(
    measuredResult([
      { ...warm(2), because: "the floor is 1 ms" },
      measuredRow("memory", [
        measuredFigure("awake, idle", [64], { unit: "MiB", goal: { atMost: 100 } }),
        measuredFigure("promised to each, used or not", [512], { unit: "MiB" }),
      ]),
      measuredRow("density", [measuredFigure("disk per sleeping session", [128], { unit: "MiB" })]),
    ]),
  );
  expect(page).toContain("1 of 2 are met.");
  expect(page).toContain("| the row warm | p50 | 2.00 ms |  |  | ≤ 1.00 ms | not met |");
  expect(page).toContain("- **the row warm** (`warm`): the floor is 1 ms.");
  expect(page).toContain("| awake and idle, what it uses | 64.0 MiB | 16.0 |");
  expect(page).toContain("| awake, what is set aside for it | 512 MiB | 2.0 |");
  expect(page).toContain("| asleep | none of its own |  | 128 MiB | 8.0 |");
});
