/** The table keeps Prometheus' rules of naming, and no label can name anybody. */
import { describe, expect, it } from "vitest";
import { METRICS, type MetricSpec } from "../../../gateway/server/metrics/table.ts";

/** A new label is a decision: what it takes must be the service's own words, and few. */
const LABELS = [
  "engine",
  "image",
  "isolation",
  "kind",
  "language",
  "method",
  "operation",
  "outcome",
  "path",
  "process",
  "reason",
  "runtime",
  "status",
  "what",
];

describe.each(Object.entries<MetricSpec>(METRICS))("%s", (name, spec) => {
  it("is named after its kind and unit", () => {
    expect(name).toMatch(/^(kernelyard|http)(_[a-z]+)+$/);
    expect(name.endsWith("_total")).toBe(spec.kind === "counter");
    if (spec.kind === "histogram") expect(name).toMatch(/_seconds$/);
  });

  it("says what it is in a sentence, and has no label that is not agreed", () => {
    expect(spec.help).toMatch(/\.$/);
    expect(Object.keys(spec.labels).filter((label) => !LABELS.includes(label))).toEqual([]);
  });
});
