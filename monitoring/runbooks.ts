/** `docs/runbooks.md`, made from the alerts by `npm run generate`. */
import { ALERTS, type Alert } from "./alerts.ts";

const SEVERITY = {
  page: "**Page**: callers notice now.",
  ticket: "**Ticket**: during working hours.",
} as const;

function chapter({ name, severity, expr, for: lasting, summary, means, look, act, over }: Alert): string {
  const since = lasting === "0m" ? "" : `, for ${lasting}`;
  return [
    `## ${name}`,
    "",
    `${summary} ${SEVERITY[severity]}`,
    "",
    `Fires when \`${expr}\`${since}.`,
    "",
    `**What it means.** ${means}`,
    "",
    "**How to see it**, on the host:",
    "",
    ...look.flatMap(({ command, shows }) => ["```sh", command, "```", "", `Look for: ${shows}.`, ""]),
    "**What to do**",
    "",
    ...act.map((step) => `- ${step}`),
    "",
    `**It is over** when: ${over.charAt(0).toLowerCase()}${over.slice(1)}`,
    "",
  ].join("\n");
}

export function runbooksDocument(): string {
  const rows = ALERTS.map(
    ({ name, severity, summary }) => `| [${name}](#${name.toLowerCase()}) | ${severity} | ${summary} |`,
  );
  return [
    "# Runbooks",
    "",
    "One for each alert of `monitoring/kernelyard.rules.yaml`. Commands only look, and are run as they stand by a test; put your API key in",
    "the place of `KEY`, and your own ports and data directory where you changed them. In a deployment, metrics and health are those of the",
    "gateway's container. The services log to standard output: `npm start` keeps that as `gateway.log` and `launcher.log` in the data",
    "directory, containers in `docker logs`, hosts in AWS in CloudWatch. `docs/monitoring.md` says how Prometheus gets all this.",
    "",
    "| alert | | |",
    "|---|---|---|",
    ...rows,
    "",
    ALERTS.map(chapter).join("\n"),
  ].join("\n");
}
