/** Health check of the service containers: `launcher` or `gateway`. Exits 0 when healthy. */

import { gatewayHealthy, launcherHealth } from "../common/protocol/readiness.ts";
import { readSettings } from "../common/settings/read.ts";

const settings = readSettings(process.env);
const healthy =
  process.argv[2] === "launcher"
    ? await launcherHealth(settings.launcherSocket)
    : await gatewayHealthy(settings.host, settings.port);
process.exit(healthy === null ? 1 : 0);
