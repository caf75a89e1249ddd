/**
 * The scripts and units of an AWS host: which of `host/` it gets, and what is filled in. They read /etc/kernelyard/host.env;
 * nothing secret is in them. Reads files, runs nothing.
 */
import { join } from "node:path";
import { putAwayMs } from "../../../gateway/common/stopping.ts";
import { INSTALLED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import { SERVICE_GID } from "../../../gateway/host/users.ts";
import { sandboxRunArgs } from "../../../sandbox-image/tools/verify/verify.ts";
import { consolePort } from "../../config/console.ts";
import type { CommonConfig } from "../../config/stack-config.ts";
import { commandLine } from "../../parts/quote.ts";
import { textOf } from "../../parts/script.ts";
import {
  gatewayDescription,
  launcherDescription,
  runFlags,
  type ServiceDescription,
} from "../../services/description.ts";
import {
  type Environment,
  gatewayMemoryBytes,
  longestCallMs,
  type Paths,
} from "../../services/environment.ts";

export interface HostFile {
  readonly path: string;
  readonly mode: "0644" | "0755";
  readonly content: string;
}

export const HOST_ENVIRONMENT = "/etc/kernelyard/host.env";
/** In memory: what the gateway's secret holds. */
const SECRETS_FILE = "/run/kernelyard-secrets/gateway.env";
/** In memory: the login to the image registry. */
const REGISTRY_LOGIN = "/run/kernelyard-docker";
/** In memory: the gateway's short-lived credentials for the bucket of files. */
const CREDENTIALS_FOLDER = "/run/kernelyard-credentials";

/** What the scripts read from the host's environment beside the instance's own values. */
export const hostPlaces = (fileBucket: boolean): Environment => ({
  SECRETS_FILE,
  DOCKER_CONFIG: REGISTRY_LOGIN,
  ...(fileBucket ? { CREDENTIALS_FOLDER, GATEWAY_GROUP: String(SERVICE_GID) } : {}),
});

/** Units that user data enables. */
export const enabledUnits = (fileBucket: boolean): string[] => [
  "kernelyard-bootstrap.service",
  "kernelyard-drain.service",
  "kernelyard-metrics.timer",
  ...(fileBucket ? ["kernelyard-credentials.timer"] : []),
];

const file = (name: string): string => textOf(join(import.meta.dirname, "host", name));

/** Every `@NAME@` must have a value. */
const filled = (name: string, values: Readonly<Record<string, string>>): string =>
  file(name).replace(/@([A-Z_]+)@/g, (place, key: string) => {
    const value = values[key];
    if (value === undefined) throw new Error(`${name}: nothing to fill in for ${place}`);
    return value;
  });

const program = (name: string, values: Readonly<Record<string, string>> = {}): HostFile => ({
  path: `/usr/local/lib/kernelyard/${name}`,
  mode: "0755",
  content: filled(name, values),
});

const unit = (name: string, values: Readonly<Record<string, string>> = {}): HostFile => ({
  path: `/etc/systemd/system/${name}`,
  mode: "0644",
  content: filled(name, values),
});

/** As `npm run image` proves it, up to the image's name. */
const proof = (isolation: CommonConfig["isolation"]): string => {
  const options = {
    runtime: isolation === "runc-unsafe" ? ("runc" as const) : ("runsc" as const),
    seccompProfile: INSTALLED_SECCOMP_PROFILE,
  };
  return commandLine(sandboxRunArgs("", options, { entrypoint: "/bin/bash" }).slice(0, -1));
};

/** The engine's own time beside the service's. */
const unitStopSeconds = (service: ServiceDescription): number => service.stopSeconds + 15;

/** Pure: what \`drain.sh\` may take, in seconds: sessions are put away, then the gateway and the launcher are stopped. */
export function drainSeconds(paths: Paths, longestMs: number): number {
  const services = [launcherDescription(paths), gatewayDescription(paths, longestMs)];
  return services.reduce(
    (sum, service) => sum + unitStopSeconds(service),
    Math.ceil(putAwayMs(longestMs) / 1000),
  );
}

const serviceUnit = (service: ServiceDescription, more: readonly string[] = []): HostFile =>
  unit(`kernelyard-${service.health}.service`, {
    FLAGS: commandLine([...runFlags(service), ...more]),
    COMMAND: commandLine(service.command),
    STOP_SECONDS: String(service.stopSeconds),
    STOP_WITHIN_SECONDS: String(unitStopSeconds(service)),
  });

export function hostFiles(
  paths: Paths,
  config: Pick<CommonConfig, "port" | "isolation" | "settings">,
  fileBucket: boolean,
  /** By which other hosts reach the gateway; the security group lets them alone in. */
  fleetPort: number | null,
): HostFile[] {
  const { port, isolation } = config;
  const console = consolePort(config);
  const credentials = [
    `--volume=${CREDENTIALS_FOLDER}:${CREDENTIALS_FOLDER}:ro`,
    `--env=AWS_CONFIG_FILE=${CREDENTIALS_FOLDER}/config`,
  ];
  return [
    program("common.sh"),
    program("bootstrap.sh"),
    program("verify.sh", { FLAGS: proof(isolation) }),
    program("drain.sh"),
    program("metrics.sh"),
    unit("kernelyard-bootstrap.service"),
    serviceUnit(launcherDescription(paths)),
    serviceUnit(gatewayDescription(paths, longestCallMs(config), gatewayMemoryBytes(config)), [
      `--env-file=${SECRETS_FILE}`,
      ...(fileBucket ? credentials : []),
      `--publish=${port}:${port}`,
      // By Session Manager's port forwarding.
      ...(console === null ? [] : [`--publish=127.0.0.1:${console}:${console}`]),
      ...(fleetPort === null ? [] : [`--publish=${fleetPort}:${fleetPort}`]),
    ]),
    ...(fileBucket
      ? [
          program("credentials.sh"),
          unit("kernelyard-gateway.service.d/credentials.conf"),
          unit("kernelyard-credentials.service"),
          unit("kernelyard-credentials.timer"),
        ]
      : []),
    unit("kernelyard-drain.service"),
    unit("kernelyard-metrics.service"),
    unit("kernelyard-metrics.timer"),
  ];
}
