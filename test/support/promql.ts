/** What a PromQL expression asks for, read as text. */
import { METRICS, type MetricSpec } from "../../gateway/server/metrics/table.ts";

export interface Selector {
  readonly metric: string;
  readonly labels: readonly string[];
}

/** Series of the service that an expression names, each with the labels that it is matched by. */
export function selectors(expr: string): Selector[] {
  return [...expr.matchAll(/\b((?:kernelyard|http)_[a-z_]+)(?:\{([^}]*)\})?/g)].map(
    ([, metric = "", matchers = ""]) => ({
      metric,
      labels: [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label ?? ""),
    }),
  );
}

/** Why the table has no such series; null when it has. Prometheus adds `instance` and `job` itself. */
export function problemWith({ metric, labels }: Selector): string | null {
  const table: Readonly<Record<string, MetricSpec>> = METRICS;
  const histogram = table[metric.replace(/_(bucket|sum|count)$/, "")];
  const spec = table[metric] ?? (histogram?.kind === "histogram" ? histogram : undefined);
  if (spec === undefined) return `no metric ${metric}`;
  if (spec.kind === "histogram" && table[metric] !== undefined) return `${metric} is a histogram`;
  const known = [
    ...Object.keys(spec.labels),
    "instance",
    "job",
    ...(metric.endsWith("_bucket") ? ["le"] : []),
  ];
  const unknown = labels.find((label) => !known.includes(label));
  return unknown === undefined ? null : `${metric} has no label ${unknown}`;
}
