/**
 * `npm run generate`: makes every committed copy of what the code says: settings, metrics, audit entries, alerts, dashboards, API description, days of the
 * simulation, locks, seccomp profile. Tests notice a stale one. Locks need a package index when a list has changed, the seccomp profile needs Go.
 * Snapshots of stacks and configuration stay Vitest's: `npm test -- unit -u`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { settingsDocument } from "../gateway/common/settings/table.ts";
import { auditDocument } from "../gateway/server/audit/document.ts";
import { metricsDocument } from "../gateway/server/metrics/document.ts";
import { DASHBOARDS } from "../monitoring/dashboards/all.ts";
import { dashboardFile } from "../monitoring/dashboards/build.ts";
import { alertRules, RULES_FILE } from "../monitoring/rules.ts";
import { japaneseRunbooksDocument, runbooksDocument } from "../monitoring/runbooks.ts";
import { runStage, type Stage } from "./runner/stage.ts";
import { startGateway } from "./unit/http/gateway-under-test.ts";

const ROOT = join(import.meta.dirname, "..");

/** As the gateway serves it. */
async function apiDescription(): Promise<string> {
  const gateway = startGateway("/nonexistent/launcher.sock");
  try {
    return `${await (await gateway.app.request("/openapi.json")).text()}\n`;
  } finally {
    gateway.stop();
  }
}

/** Made from this project alone. */
export const COPIES: readonly { readonly path: string; readonly make: () => string | Promise<string> }[] = [
  { path: "docs/settings.md", make: settingsDocument },
  { path: "docs/audit.md", make: auditDocument },
  { path: "docs/metrics.md", make: metricsDocument },
  { path: `monitoring/${RULES_FILE}`, make: alertRules },
  { path: "docs/runbooks.md", make: runbooksDocument },
  { path: "docs/ja/runbooks.md", make: japaneseRunbooksDocument },
  ...Object.entries(DASHBOARDS).map(([file, dashboard]) => ({
    path: `monitoring/grafana/${file}`,
    make: () => dashboardFile(dashboard),
  })),
  { path: "docs/openapi.json", make: apiDescription },
];

const PROGRAMS: readonly Stage[] = [
  { title: "days of the simulation", command: ["node", "test/simulate/main.ts", "--write"] },
  { title: "locks of the sandbox's libraries", command: ["node", "sandbox-image/tools/lock.ts"] },
  { title: "seccomp profile", command: ["node", "gateway/host/seccomp/derive.ts"] },
];

if (import.meta.main) {
  for (const { path, make } of COPIES) {
    const text = await make();
    const changed = readFileSync(join(ROOT, path), "utf8") !== text;
    if (changed) writeFileSync(join(ROOT, path), text);
    process.stdout.write(`${path}: ${changed ? "written" : "as it was"}\n`);
  }
  for (const program of PROGRAMS) if (!(await runStage(program))) process.exitCode = 1;
}
