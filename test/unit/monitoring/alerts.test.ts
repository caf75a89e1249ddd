/** Alerts ask for what there is. That they fire is Prometheus' word: `integration/monitoring/rules.test.ts`. */
import { describe, expect, it } from "vitest";
import { ALERTS } from "../../../monitoring/alerts.ts";
import { problemWith, selectors } from "../../support/promql.ts";

const problems = (expr: string) => selectors(expr).flatMap((one) => problemWith(one) ?? []);

describe.each(ALERTS)("$name", ({ expr, fires, quiet, look, act }) => {
  it("asks for metrics and labels that there are", () => {
    expect(problems(expr)).toEqual([]);
    if (!expr.startsWith("up{")) expect(selectors(expr)).not.toEqual([]);
  });

  it("is tried with series that there are", () => {
    const series = [...Object.keys(fires), ...Object.keys(quiet)];
    expect(series.flatMap(problems)).toEqual([]);
  });

  it("says how to see it and what to do", () => {
    expect(look.length).toBeGreaterThan(0);
    expect(act.length).toBeGreaterThan(0);
  });
});

it("no name is used twice", () => {
  expect(new Set(ALERTS.map(({ name }) => name)).size).toBe(ALERTS.length);
});

it("notices a metric and a label that are not there", () => {
  expect(problems("kernelyard_nothing > 1")).toEqual(["no metric kernelyard_nothing"]);
  expect(problems('rate(http_requests_total{code="500"}[5m])')).toEqual([
    "http_requests_total has no label code",
  ]);
  expect(problems("kernelyard_queue_wait_seconds > 1")).toEqual([
    "kernelyard_queue_wait_seconds is a histogram",
  ]);
});
