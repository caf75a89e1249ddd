/** The alerts as Prometheus reads them, and as `promtool` tries them. Pure text. */
import { stringify } from "yaml";
import { ALERTS, type Alert, type Series } from "./alerts.ts";

export const RULES_FILE = "kernelyard.rules.yaml";
const HEADER = "# Made from monitoring/alerts.ts by `npm run generate`; docs/runbooks.md says what to do.\n";

/** Within the hour that an example's series cover, after the longest `for`. */
const LOOKED_AT = "55m";

const annotations = ({ name, summary }: Alert) => ({
  summary,
  runbook: `docs/runbooks.md#${name.toLowerCase()}`,
});

export function alertRules(): string {
  const rules = ALERTS.map((alert) => ({
    alert: alert.name,
    expr: alert.expr,
    for: alert.for,
    labels: { severity: alert.severity },
    annotations: annotations(alert),
  }));
  return HEADER + stringify({ groups: [{ name: "kernelyard", rules }] }, { lineWidth: 0 });
}

/** For `promtool test rules`, beside the rules' file: each alert fires by its example, and not by its opposite. */
export function ruleTests(): string {
  const tests = ALERTS.flatMap((alert) => [
    example(alert, alert.fires, true),
    example(alert, alert.quiet, false),
  ]);
  return stringify({ rule_files: [RULES_FILE], evaluation_interval: "1m", tests }, { lineWidth: 0 });
}

function example(alert: Alert, series: Series, fires: boolean) {
  const { name, severity, labels = { instance: "host:3113", job: "kernelyard" } } = alert;
  const expected = { exp_labels: { severity, ...labels }, exp_annotations: annotations(alert) };
  return {
    name: `${name} ${fires ? "fires" : "is quiet"}`,
    interval: "1m",
    input_series: Object.entries(series).map(([one, values]) => ({ series: one, values })),
    alert_rule_test: [{ eval_time: LOOKED_AT, alertname: name, exp_alerts: fires ? [expected] : [] }],
  };
}
