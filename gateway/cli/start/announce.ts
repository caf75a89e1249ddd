/** What `npm start` prints when everything runs. Pure text. */

import type { StoredKey } from "../../common/keys/api-key.ts";
import type { LauncherHealth } from "../../common/protocol/launcher-api.ts";

export interface Announcement {
  readonly baseUrl: string;
  readonly health: LauncherHealth;
  readonly apiKey: StoredKey | null;
  readonly dataDirectory: string;
  readonly auth: readonly string[];
  /** The lines for LibreChat's environment. */
  readonly librechat: string;
}

const MIB = 1024 * 1024;

function isolationLine(health: LauncherHealth): string {
  if (health.isolation === "runsc") {
    return `gVisor (${health.runtime_version}), seccomp ${health.seccomp_sha256.slice(0, 12)}, no network`;
  }
  return "NONE WORTH THE NAME: plain runc (KERNELYARD_ISOLATION=runc-unsafe). The code shares this host's kernel.";
}

export function announcement(a: Announcement): string {
  const image = a.health.profiles[0];
  const lines = [
    "",
    "Kernelyard is ready: it has just executed code in a sandbox.",
    "",
    `  endpoint    ${a.baseUrl}   (LibreChat: ${a.baseUrl}/v1)`,
    `  isolation   ${isolationLine(a.health)}`,
    `  sandbox     ${Math.round(a.health.sandbox_memory_bytes / MIB)} MiB each with gVisor's share, room for ${a.health.capacity}`,
    ...(image === undefined ? [] : [`  image       ${image.image} ${image.digest}`]),
    ...(a.health.session_disk_quota === "loop"
      ? []
      : ["  disk        WEAKER: no loop devices here, session volumes have no hard size"]),
    `  data        ${a.dataDirectory}   (logs: launcher.log, gateway.log)`,
    `  callers     ${a.auth.join(", ")}`,
  ];
  if (a.apiKey !== null) {
    lines.push(
      a.apiKey.created
        ? `  API key     ${a.apiKey.key}\n              printed this once; kept in ${a.apiKey.path} (mode 0600)`
        : `  API key     in ${a.apiKey.path}`,
    );
  }
  lines.push("", "Paste into LibreChat's .env:", "", a.librechat.trimEnd().replaceAll(/^/gm, "  "), "");
  lines.push("Ctrl-C stops it; session volumes and files stay.");
  return lines.join("\n");
}
