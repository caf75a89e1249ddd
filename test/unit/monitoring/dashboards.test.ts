/** Panels ask for what there is. That it comes is Prometheus' word: `integration/monitoring/watched.test.ts`. */
import { describe, expect, it } from "vitest";
import { DASHBOARDS } from "../../../monitoring/dashboards/all.ts";
import { HOSTS } from "../../../monitoring/dashboards/build.ts";
import { problemWith, selectors } from "../../support/promql.ts";

const panels = Object.entries(DASHBOARDS).flatMap(([file, { rows }]) =>
  rows.flatMap((row) => row.panels.map((panel) => ({ file, ...panel }))),
);

describe.each(panels)("$file: $title", ({ about, queries }) => {
  it("asks for metrics and labels that there are, of the chosen hosts alone", () => {
    const asked = queries.flatMap(({ expr }) => selectors(expr));
    expect(asked.length).toBeGreaterThanOrEqual(queries.length);
    expect(asked.flatMap((one) => problemWith(one) ?? [])).toEqual([]);
    for (const { expr } of queries) expect(expr.split(HOSTS).length - 1).toBe(selectors(expr).length);
  });

  it("says what to make of it", () => expect(about).toMatch(/\.$/));
});

it("each dashboard has an id and titles of its own", () => {
  const uids = Object.values(DASHBOARDS).map(({ uid }) => uid);
  expect(new Set(uids).size).toBe(uids.length);
  for (const { rows } of Object.values(DASHBOARDS)) {
    const titles = rows.flatMap((row) => row.panels.map(({ title }) => title));
    expect(new Set(titles).size).toBe(titles.length);
  }
});
