/** Every dashboard, by its file in `monitoring/grafana/`. */
import type { Dashboard } from "./build.ts";
import { FLEET } from "./fleet.ts";
import { HOST } from "./host.ts";
import { OVERVIEW } from "./overview.ts";
import { SESSIONS } from "./sessions.ts";

export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  "overview.json": OVERVIEW,
  "sessions.json": SESSIONS,
  "host.json": HOST,
  "fleet.json": FLEET,
};
