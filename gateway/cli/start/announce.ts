/** What `npm start` prints when everything runs. Pure text. */

import type { StoredKey } from "../../common/keys/api-key.ts";
import type { JwtKeys } from "../../common/keys/jwt-pair.ts";
import { librechatConfiguration } from "../../common/librechat/configuration.ts";
import { hasStatefulSessions, librechatEnvironment } from "../../common/librechat/environment.ts";
import type { LauncherHealth } from "../../common/protocol/launcher-api.ts";
import type { Settings } from "../../common/settings/read.ts";

export interface Announcement {
  /** What the gateway listens on. */
  readonly host: string;
  readonly port: number;
  /** Address of the engine's own bridge: containers reach it, other machines do not. Null: there is none here. */
  readonly bridge: string | null;
  readonly health: LauncherHealth;
  /** All that the sandbox image can have. */
  readonly profiles: readonly string[];
  /** Null: not made here. */
  readonly apiKey: StoredKey | null;
  readonly jwt: JwtKeys | null;
  /** Null: not made here. */
  readonly operatorKey: StoredKey | null;
  /** What the console listens on; null: it is off. */
  readonly console: { readonly host: string; readonly port: number } | null;
  /** See `LibrechatEnvironment`. */
  readonly ownKid: string | null;
  readonly dataDirectory: string;
  readonly auth: Settings["auth"];
  readonly issuer: string;
  readonly audience: string;
  readonly maxLifetimeSeconds: number;
}

const MIB = 1024 * 1024;
/** The host as containers see it, where their compose file says so. */
const HOST_OF_CONTAINERS = "host.docker.internal";

function isolationLine(health: LauncherHealth): string {
  if (health.isolation === "runsc") {
    return `gVisor (${health.runtime_version}), seccomp ${health.seccomp_sha256.slice(0, 12)}, no network`;
  }
  return "NONE WORTH THE NAME: plain runc (KERNELYARD_ISOLATION=runc-unsafe). The code shares this host's kernel.";
}

/** Which one runs, and how to get another. */
const profileLine = (name: string, others: readonly string[]): string =>
  `  profile     ${name}${others.length === 0 ? "" : `   (another: npm start -- --profile ${others.join("|")}; README says which is for whom)`}`;

const everywhere = (host: string) => host === "0.0.0.0" || host === "::";
const here = (host: string) => host === "localhost" || host === "::1" || host.startsWith("127.");
const inUrl = (host: string) => (host.includes(":") ? `[${host}]` : host);

/** The way in from this machine. */
export function ownUrl(host: string, port: number): string {
  return `http://${everywhere(host) ? "127.0.0.1" : inUrl(host)}:${port}`;
}

/** What it takes for a LibreChat in a container on this machine. */
function containerLines({ host, port, bridge }: Announcement): string[] {
  const url = `http://${HOST_OF_CONTAINERS}:${port}/v1`;
  const compose = `extra_hosts: ["${HOST_OF_CONTAINERS}:host-gateway"]`;
  if (everywhere(host)) {
    return [
      `LibreChat in a container on this machine: write ${url} instead, with ${compose} in its compose file.`,
    ];
  }
  if (host === bridge) {
    return [`${url} is the same from a container with ${compose} in its compose file.`];
  }
  if (!here(host)) return [];
  return [
    "LibreChat in a container on this machine does not reach this address:",
    `stop this, start it with KERNELYARD_HOST=${bridge ?? "ADDRESS-OF-THE-BRIDGE"} npm start, and paste what that prints.`,
  ];
}

const indented = (text: string) => text.trimEnd().replaceAll(/^(?=.)/gm, "  ");

export function announcement(a: Announcement): string {
  const url = ownUrl(a.host, a.port);
  const [image, ...beside] = a.health.profiles;
  const others = a.profiles.filter((name) => a.health.profiles.every((present) => present.name !== name));
  const lines = [
    "",
    "Kernelyard is ready: it has just executed code in a sandbox.",
    "",
    `  endpoint    ${url}   (LibreChat: ${url}/v1)`,
    `  isolation   ${isolationLine(a.health)}`,
    `  sandbox     ${Math.round(a.health.sandbox_memory_bytes / MIB)} MiB each with gVisor's share, room for ${a.health.capacity}`,
    ...(image === undefined
      ? []
      : [`  image       ${image.image} ${image.digest}`, profileLine(image.name, others)]),
    ...beside.map(({ name, digest }) => `  beside it   profile ${name} ${digest}`),
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
  if (a.console !== null) {
    lines.push(
      `  console     ${ownUrl(a.console.host, a.console.port)}${a.operatorKey === null ? "" : `   (key in ${a.operatorKey.path})`}`,
    );
  }
  const environment = librechatEnvironment({ ...a, baseUrl: `${url}/v1` });
  lines.push("", "Paste into LibreChat's .env:", "", indented(environment), "");
  if (hasStatefulSessions(a.auth)) {
    const configuration = librechatConfiguration(`${url}/v1`);
    lines.push("Add to its librechat.yaml, for agents whose sessions keep their state:", "");
    lines.push(indented(configuration), "");
  }
  const container = containerLines(a);
  if (container.length > 0) lines.push(...container, "");
  lines.push("Ctrl-C stops it; session volumes and files stay.");
  return lines.join("\n");
}
