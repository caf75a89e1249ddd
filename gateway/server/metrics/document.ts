/** `docs/metrics.md`, made from the table by `npm run generate`. */
import { METRICS, type MetricSpec } from "./table.ts";

const cell = (text: string) => text.replaceAll("|", "\\|");

function labels(spec: MetricSpec): string {
  return Object.entries(spec.labels)
    .map(([label, values]) => {
      const shown = typeof values === "string" ? values : values.map((value) => `\`${value}\``).join(" ");
      return `\`${label}\`: ${cell(shown)}`;
    })
    .join("<br>");
}

export function metricsDocument(): string {
  const rows = Object.entries<MetricSpec>(METRICS).map(
    ([name, spec]) => `| \`${name}\` | ${spec.kind} | ${cell(spec.help)} | ${labels(spec)} |`,
  );
  return [
    "# Metrics",
    "",
    "The gateway serves them for Prometheus at `/metrics` of a listener of its own, by default `http://127.0.0.1:3113/metrics`",
    "(`KERNELYARD_METRICS_HOST`, `KERNELYARD_METRICS_PORT`; port 0 turns them off). There is no authentication: keep it on this machine",
    "or in a private network. No label names a user, a tenant, a session or a file. The launcher's figures come through the gateway.",
    "",
    "| name | kind | | labels |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
