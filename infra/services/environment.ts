/** The settings that launcher and gateway of a deployment run with. Pure text. */
import { basename, join } from "node:path";
import {
  hashedKeySetting,
  keyEntries,
  readKeyEntry,
  splitKeyEntry,
} from "../../gateway/common/keys/api-key.ts";
import { DEFAULT_PROFILE } from "../../gateway/common/profiles.ts";
import { DEFAULT_TENANT } from "../../gateway/common/protocol/launcher-api.ts";
import { SETTINGS } from "../../gateway/common/settings/schema.ts";
import { AUDIT_BUCKET_SETTINGS } from "../config/audit.ts";
import { consolePort } from "../config/console.ts";
import type { CommonConfig } from "../config/stack-config.ts";
import type { FileStore } from "../config/values.ts";

export type Environment = Readonly<Record<string, string>>;

export interface Paths {
  /** The same inside the service containers and on the host: the engine mounts session volumes from it. */
  readonly data: string;
  /** On the host. */
  readonly dockerSocket: string;
}

/** Where the launcher sees the folder of the engine's socket. */
export const ENGINE_MOUNT = "/run/engine";

export const launcherSocket = (paths: Paths) => `${paths.data}/run/launcher.sock`;

/** The default is left out: services of stacks without a profile stay as they are. */
const profileSetting = ({ profile }: CommonConfig): Environment =>
  profile === DEFAULT_PROFILE ? {} : { KERNELYARD_PROFILE: profile };

const isOfAuditBucket = (name: string) => AUDIT_BUCKET_SETTINGS.some((one) => one === name);

/** Settings that only one of the two services reads may be given to both, but for a bucket whose store the other does not know. */
export function launcherEnvironment(config: CommonConfig, paths: Paths, sandboxImage: string): Environment {
  return {
    ...Object.fromEntries(Object.entries(config.settings).filter(([name]) => !isOfAuditBucket(name))),
    KERNELYARD_DATA_DIR: paths.data,
    KERNELYARD_LAUNCHER_SOCKET: launcherSocket(paths),
    KERNELYARD_DOCKER_SOCKET: join(ENGINE_MOUNT, basename(paths.dockerSocket)),
    KERNELYARD_ISOLATION: config.isolation,
    ...profileSetting(config),
    KERNELYARD_IMAGE: sandboxImage,
  };
}

/** LibreChat signs with the pair that the stack made, not with keys that it publishes itself. */
export const usesOwnPair = (config: CommonConfig): boolean =>
  config.auth.includes("jwt") && config.settings.KERNELYARD_JWT_JWKS_URL === undefined;

export interface GatewayKeys {
  readonly apiKey: string;
  readonly jwtPublicKeyPem: string;
  readonly furtherApiKeys: string | null;
}

export function gatewayEnvironment(config: CommonConfig, paths: Paths, keys: GatewayKeys): Environment {
  const ownKeys = [
    hashedKeySetting(DEFAULT_TENANT, keys.apiKey),
    ...keyEntries(keys.furtherApiKeys).map(hashed),
  ];
  return {
    ...config.settings,
    // Inside the container's own network namespace; who can reach it is decided where the port is published.
    KERNELYARD_HOST: "0.0.0.0",
    KERNELYARD_PORT: String(config.port),
    ...(consolePort(config) === null ? {} : { KERNELYARD_CONSOLE_HOST: "0.0.0.0" }),
    KERNELYARD_DATA_DIR: paths.data,
    KERNELYARD_LAUNCHER_SOCKET: launcherSocket(paths),
    KERNELYARD_ISOLATION: config.isolation,
    ...profileSetting(config),
    KERNELYARD_AUTH: config.auth.join(","),
    ...(config.auth.includes("api-key") ? { KERNELYARD_API_KEYS: ownKeys.join(",") } : {}),
    ...(usesOwnPair(config)
      ? { KERNELYARD_JWT_PUBLIC_KEY: Buffer.from(keys.jwtPublicKeyPem).toString("base64") }
      : {}),
  };
}

export interface FleetPlace {
  /** Of the directory's engine, with its user and password. */
  readonly url: string;
  /** PEM; null: the public authorities vouch for it. */
  readonly certificate: string | null;
  readonly stack: string;
  /** Where other hosts reach this one, `ADDRESS:PORT`; null: each host finds out by itself. */
  readonly address: string | null;
  readonly key: string;
}

const LONGEST_FLEET_NAME = 32;

/** A host among others. */
export const fleetEnvironment = ({ address, certificate, key, stack, url }: FleetPlace): Environment => ({
  KERNELYARD_FLEET_URL: url,
  ...(certificate === null ? {} : { KERNELYARD_FLEET_CA: Buffer.from(certificate).toString("base64") }),
  KERNELYARD_FLEET_NAME: stack.slice(0, LONGEST_FLEET_NAME),
  ...(address === null ? {} : { KERNELYARD_FLEET_ADDRESS: address }),
  KERNELYARD_FLEET_KEY: key,
});

/** Files in a bucket of the operator's; `key`: `ID:SECRET`. */
export const fileStoreEnvironment = (store: FileStore, key: string): Environment => ({
  KERNELYARD_FILE_STORE: "s3",
  KERNELYARD_S3_BUCKET: store.bucket,
  ...(store.prefix === undefined ? {} : { KERNELYARD_S3_PREFIX: store.prefix }),
  ...(store.region === undefined ? {} : { KERNELYARD_S3_REGION: store.region }),
  ...(store.endpoint === undefined ? {} : { KERNELYARD_S3_ENDPOINT: store.endpoint }),
  AWS_ACCESS_KEY_ID: key.slice(0, key.indexOf(":")),
  AWS_SECRET_ACCESS_KEY: key.slice(key.indexOf(":") + 1),
});

/** The gateway never needs a key itself: `TENANT=KEY` becomes `TENANT=sha256:HEX`. */
function hashed(entry: string, index: number): string {
  const read = readKeyEntry(entry);
  if (typeof read === "string") throw new Error(`kernelyard:apiKeys: entry ${index + 1} ${read}`);
  const { key } = splitKeyEntry(entry);
  return key.startsWith("sha256:") ? `${read.tenant}=${key}` : hashedKeySetting(read.tenant, key);
}

/** The longest wall clock that a call may ask for, in milliseconds. */
export function longestCallMs(config: Pick<CommonConfig, "settings">): number {
  const spec = SETTINGS.KERNELYARD_TIMEOUT_MAX_MS;
  return spec.schema.parse(config.settings.KERNELYARD_TIMEOUT_MAX_MS ?? spec.fallback);
}

/** The longest that a connection stays silent: a call waits for its session, then runs. In milliseconds. */
export function longestAnswerMs(config: CommonConfig): number {
  const { settings } = config;
  const wait = settings.KERNELYARD_BUSY_WAIT_MS ?? settings.KERNELYARD_TIMEOUT_MS;
  const spec = SETTINGS.KERNELYARD_TIMEOUT_MS;
  return longestCallMs(config) + Number(wait ?? spec.fallback);
}

/** 0: there are no metrics. */
export function metricsPort(config: Pick<CommonConfig, "settings">): number {
  const spec = SETTINGS.KERNELYARD_METRICS_PORT;
  return spec.schema.parse(config.settings.KERNELYARD_METRICS_PORT ?? spec.fallback);
}

/** Memory of the gateway, in bytes. */
export function gatewayMemoryBytes(config: Pick<CommonConfig, "settings">): number {
  const spec = SETTINGS.KERNELYARD_GATEWAY_MEMORY;
  return spec.schema.parse(config.settings.KERNELYARD_GATEWAY_MEMORY ?? spec.fallback);
}

/** As Docker and systemd take it. */
export const assignments = (environment: Environment): string[] =>
  Object.entries(environment)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
