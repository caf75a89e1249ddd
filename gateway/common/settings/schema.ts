/**
 * Every setting of gateway and launcher, each said once: variable, field, reader, default, description. `read.ts` turns
 * the environment into `Settings` by it, `docs/settings.md` is made of it; a test holds them together.
 */
import { z } from "@hono/zod-openapi";
import { imageOf, ProfileName } from "../profiles.ts";
import { TenantName } from "../protocol/launcher-api.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** `512m`, `1.5g`, `65536`: bytes. */
const bytes = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?[kmg]?$/i, "must be a size such as 512m or 2g")
    .transform((text) => {
      const unit = { k: KIB, m: MIB, g: GIB }[text.slice(-1).toLowerCase()] ?? 1;
      return Math.round(Number.parseFloat(text) * unit);
    })
    .refine((n) => n >= min && n <= max, `must be between ${min} and ${max} bytes`);

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be between ${min} and ${max}`);

const decimal = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+(\.\d+)?$/, "must be a number")
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be between ${min} and ${max}`);

const path = z.string().startsWith("/", "must be an absolute path");

const bucket = z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be the name of a bucket");

/** In a bucket; ends in `/`. */
const folders = z
  .string()
  .regex(
    /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*\/?$/,
    "must be folders of A-Z a-z 0-9 _ . - with / between them",
  )
  .max(256, "must have at most 256 characters")
  .transform((text) => (text.endsWith("/") ? text : `${text}/`));

/** A path below the data directory, unless it is set. */
export interface BelowDataDir {
  readonly below: string;
}

/** The value of an earlier entry, unless it is set. */
export interface SameAs {
  readonly sameAs: string;
}

/** The tag of the profile that an earlier entry names, unless it is set. */
export interface ImageOf {
  readonly imageOf: string;
}

type AnyFallback = string | BelowDataDir | SameAs | ImageOf | null;

/** One setting: its name in `Settings`, how it is read, its default, and one line for the table. */
export interface SettingSpec<
  Field extends string = string,
  Schema extends z.ZodType = z.ZodType,
  Fallback extends AnyFallback = AnyFallback,
> {
  /** Units are in the name: bytes, milliseconds (`Ms`), seconds (`S`). */
  readonly field: Field;
  /** What it makes of the variable's text. */
  readonly schema: Schema;
  /** As an operator would write it. `null`: the field is null then, and the description says what happens. */
  readonly fallback: Fallback;
  readonly about: string;
  /** Its value is never repeated in a message. */
  readonly secret: boolean;
}

/** With a default. */
const setting = <const Field extends string, Schema extends z.ZodType>(
  field: Field,
  schema: Schema,
  fallback: string,
  about: string,
): SettingSpec<Field, Schema, string> => ({ field, schema, fallback, about, secret: false });

/** Null when it is not set. */
const optional = <const Field extends string, Schema extends z.ZodType>(
  field: Field,
  schema: Schema,
  about: string,
): SettingSpec<Field, Schema, null> => ({ field, schema, fallback: null, about, secret: false });

const secret = <const Field extends string, Schema extends z.ZodType>(
  field: Field,
  schema: Schema,
  about: string,
): SettingSpec<Field, Schema, null> => ({ ...optional(field, schema, about), secret: true });

const below = <const Field extends string>(
  field: Field,
  fallback: string,
  about: string,
): SettingSpec<Field, typeof path, BelowDataDir> => ({
  field,
  schema: path,
  fallback: { below: fallback },
  about,
  secret: false,
});

/** `other` stands before it in the table. */
const sameAs = <const Field extends string, Schema extends z.ZodType>(
  field: Field,
  schema: Schema,
  other: string,
  about: string,
): SettingSpec<Field, Schema, SameAs> => ({
  field,
  schema,
  fallback: { sameAs: other },
  about,
  secret: false,
});

/** `NAME` or `NAME=IMAGE`. */
const profileImages = z.string().transform((text, context) =>
  text.split(",").flatMap((entry) => {
    const [name = "", image] = entry.split(/=(.*)/s).map((part) => part.trim());
    const problem = ProfileName.safeParse(name).error?.issues[0]?.message;
    if (problem === undefined && image !== "") return [{ name, image: image ?? imageOf(name) }];
    context.addIssue({
      code: "custom",
      message: `\`${entry.trim().slice(0, 80)}\`: ${problem ?? "names no image"}`,
    });
    return [];
  }),
);

/** `TENANT=PROFILE`. */
const tenantProfiles = z.string().transform((text, context) => {
  const found = new Map<string, string>();
  for (const entry of text.split(",")) {
    const [tenant = "", profile = ""] = entry.split("=").map((part) => part.trim());
    const wrong = !TenantName.safeParse(tenant).success
      ? "names no tenant (a-z, 0-9 and -)"
      : !ProfileName.safeParse(profile).success
        ? "names no profile (TENANT=PROFILE)"
        : found.has(tenant)
          ? "names a tenant twice"
          : null;
    if (wrong !== null)
      context.addIssue({ code: "custom", message: `\`${entry.trim().slice(0, 80)}\` ${wrong}` });
    found.set(tenant, profile);
  }
  return found as ReadonlyMap<string, string>;
});

function cannotBeForged(url: string): boolean {
  // What is no address has a problem of its own.
  if (!URL.canParse(url)) return true;
  const { hostname, protocol } = new URL(url);
  return (
    protocol === "https:" || (protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(hostname))
  );
}

export const SETTINGS = {
  KERNELYARD_HOST: setting("host", z.string().min(1), "127.0.0.1", "Address the gateway listens on."),
  KERNELYARD_PORT: setting(
    "port",
    integer(0, 65535),
    "3112",
    "Port the gateway listens on; 0 takes a free one.",
  ),
  KERNELYARD_METRICS_HOST: setting(
    "metricsHost",
    z.string().min(1),
    "127.0.0.1",
    "Address that `/metrics` is served on, without authentication: this machine or a private network.",
  ),
  KERNELYARD_METRICS_PORT: setting(
    "metricsPort",
    integer(0, 65535),
    "3113",
    "Port that `/metrics` is served on for Prometheus; 0 turns it off.",
  ),
  KERNELYARD_CONSOLE_HOST: setting(
    "consoleHost",
    z.string().min(1),
    "127.0.0.1",
    "Address that the operator's console is served on, without TLS: this machine; from elsewhere through an ssh tunnel.",
  ),
  KERNELYARD_CONSOLE_PORT: setting(
    "consolePort",
    integer(0, 65535),
    "3115",
    "Port that the console is served on; 0 turns it off. There is none without `KERNELYARD_OPERATOR_KEY`.",
  ),
  KERNELYARD_DATA_DIR: setting(
    "dataDir",
    path,
    "/var/lib/kernelyard",
    "Everything that lasts: keys, files, session volumes.",
  ),
  KERNELYARD_LAUNCHER_SOCKET: below(
    "launcherSocket",
    "run/launcher.sock",
    "Unix socket between gateway and launcher.",
  ),
  KERNELYARD_DOCKER_SOCKET: setting(
    "dockerSocket",
    path,
    "/var/run/docker.sock",
    "The engine's socket; only the launcher opens it.",
  ),
  KERNELYARD_LOG_LEVEL: setting(
    "logLevel",
    z.enum(["debug", "info", "warn", "error"]),
    "info",
    "Least level that is logged.",
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    "otlpEndpoint",
    z.url({ protocol: /^https?$/ }),
    "Where traces of requests and calls are sent (OTLP over HTTP): the address of a collector, such as `http://127.0.0.1:4318`. Default: there are none.",
  ),

  KERNELYARD_AUTH: setting(
    "auth",
    z
      .string()
      .transform((text) => text.split(",").map((mode) => mode.trim()))
      .pipe(z.array(z.enum(["api-key", "jwt", "none"])).min(1))
      .refine((modes) => !modes.includes("none") || modes.length === 1, "`none` cannot be combined"),
    "api-key,jwt",
    "How callers prove who they are: `api-key`, `jwt`, both with a comma, or `none` for a private network.",
  ),
  KERNELYARD_API_KEYS: secret(
    "apiKeys",
    z.string().min(1),
    "Accepted keys, separated by commas: `KEY`, `TENANT=KEY` or `TENANT=sha256:HEX`. Default: one is generated into the data directory.",
  ),
  KERNELYARD_OPERATOR_KEY: secret(
    "operatorKey",
    z
      .string()
      .regex(
        /^(sha256:[0-9a-fA-F]{64}|[\x21-\x7e]{32,512})$/,
        "must have at least 32 characters, or be `sha256:HEX`",
      ),
    "Key of the operator, `KEY` or `sha256:HEX`: opens the console, and in the header `X-Operator-Key` the routes below `/operator`. Default: `npm start` makes one in the data directory; without one there is neither.",
  ),
  KERNELYARD_JWT_PUBLIC_KEY: secret(
    "jwtPublicKey",
    z.string().min(1),
    "Public key (PEM, or base64 of it) that verifies LibreChat's tokens. Default: a pair is generated into the data directory.",
  ),
  KERNELYARD_JWT_KID: optional(
    "jwtKid",
    z.string().min(1).max(256),
    "Name of the public key: tokens that name another one (`kid`, LibreChat's `CODEAPI_JWT_KID`) are refused. Default: `kernelyard-` and a digest of the key, as it is printed.",
  ),
  KERNELYARD_JWT_JWKS_URL: optional(
    "jwtJwksUrl",
    z
      .url()
      .refine(cannotBeForged, "must be https://, or http:// to this machine: who can answer it signs tokens"),
    "Key set that verifies tokens, instead of one public key: https, or http on this machine.",
  ),
  KERNELYARD_JWT_ISSUER: setting("jwtIssuer", z.string().min(1), "librechat", "Required `iss` of tokens."),
  KERNELYARD_JWT_AUDIENCE: setting("jwtAudience", z.string().min(1), "codeapi", "Required `aud` of tokens."),
  KERNELYARD_JWT_MAX_LIFETIME_S: setting(
    "jwtMaxLifetimeS",
    integer(30, 3600),
    "300",
    "Longest accepted lifetime of a token, in seconds.",
  ),

  KERNELYARD_RATE_LIMITS: setting(
    "rateLimits",
    z.enum(["on", "off"]),
    "on",
    "Requests per caller: a user's token has 300 executions in 30 s, 300 uploads in 5 min, 600 downloads and 1200 listings a minute, which is more than LibreChat asks for one user at once; an API key ten times as many. Requests of any kind, `POST /run` among them: 3000 in 30 s.",
  ),

  KERNELYARD_GATEWAY_MEMORY: setting(
    "gatewayMemoryBytes",
    bytes(512 * MIB, 64 * GIB),
    "1g",
    "Memory of the gateway, and the limit of its container: heap, requests, files on their way.",
  ),

  KERNELYARD_ISOLATION: setting(
    "isolation",
    z.enum(["runsc", "runc-unsafe"]),
    "runsc",
    "`runsc` is gVisor. `runc-unsafe` shares the host's kernel with the code: for trusted code only.",
  ),
  KERNELYARD_PROFILE: setting(
    "profile",
    ProfileName,
    "default",
    "What sandboxes have: `default` (pandas, numpy, scipy, matplotlib), `analyst`, `documents`, `polyglot`, or a profile of your own. `npm start -- --profile NAME` is the same.",
  ),
  KERNELYARD_IMAGE: {
    field: "image",
    schema: z.string().min(1),
    fallback: { imageOf: "KERNELYARD_PROFILE" },
    about: "Sandbox image; it runs by the digest that this name has when the launcher starts.",
    secret: false,
  } satisfies SettingSpec<"image", z.ZodString, ImageOf>,
  KERNELYARD_PROFILES: optional(
    "profiles",
    profileImages,
    "Further profiles on this host, with commas: `NAME` (its image is `custom-rce-kernel:NAME`, which `npm start` builds) or `NAME=IMAGE`. `KERNELYARD_TENANT_PROFILES` says who has them.",
  ),
  KERNELYARD_TENANT_PROFILES: optional(
    "tenantProfiles",
    tenantProfiles,
    "Who has which profile, with commas: `TENANT=PROFILE`. Everybody else has `KERNELYARD_PROFILE`. Tenants are those of `KERNELYARD_API_KEYS` and of LibreChat's tokens.",
  ),
  KERNELYARD_WHEELS: optional(
    "wheels",
    path,
    "Folder of wheels that `pip install` in sandboxes takes packages from, filled by `npm run wheels -- LIST FOLDER`; sandboxes see it read-only. In stacks it lies below the data directory. Default: none, pip has no network.",
  ),
  KERNELYARD_MEMORY: setting(
    "memoryBytes",
    // With 192 MiB the interpreter and its libraries are killed before they print.
    bytes(256 * MIB, 256 * GIB),
    "512m",
    "Memory of one sandbox, without swap. The interpreter and its libraries are in it: with less than 384m a figure does not fit.",
  ),
  KERNELYARD_CPUS: setting(
    "cpus",
    decimal(0.1, 256),
    "0.5",
    "CPU share of one sandbox while user code runs.",
  ),
  KERNELYARD_PIDS: setting(
    "pids",
    integer(512, 32768),
    "1024",
    "Threads and processes of one sandbox; gVisor's own count, hence at least 512.",
  ),
  KERNELYARD_SESSION_DISK: setting(
    "sessionDiskBytes",
    bytes(16 * MIB, 1024 * GIB),
    "1g",
    "Hard size of a session's volume.",
  ),
  KERNELYARD_FRESH_DISK: setting(
    "freshDiskBytes",
    bytes(16 * MIB, 1024 * GIB),
    "256m",
    "Size of the data directory of a fresh sandbox; it counts against its memory.",
  ),
  KERNELYARD_MEMORY_BUDGET: optional(
    "memoryBudgetBytes",
    bytes(256 * MIB, 64 * 1024 * GIB),
    "Memory that all sandboxes may take together. Default: the host's memory less 2 GiB (at least half of it).",
  ),
  KERNELYARD_POOL_SIZE: setting(
    "poolSize",
    z.union([z.literal("auto"), integer(0, 64)], "must be auto or a whole number from 0 to 64"),
    "auto",
    "Warm sandboxes kept ready for calls without a session, of each profile. `auto`: two; where they are made from checkpoints six or a quarter of the host, and as many as came together lately, up to half of it.",
  ),

  KERNELYARD_TIMEOUT_MS: setting(
    "timeoutMs",
    integer(100, 3_600_000),
    "300000",
    "Wall clock of a call that does not say how long it may take; LibreChat's tools do not.",
  ),
  KERNELYARD_TIMEOUT_MAX_MS: setting(
    "timeoutMaxMs",
    integer(100, 3_600_000),
    "300000",
    "Longest wall clock that a call may ask for.",
  ),
  KERNELYARD_STDOUT_LIMIT: setting(
    "stdoutLimit",
    integer(1024, 64 * MIB),
    "65536",
    "Standard output of one call, in UTF-16 units; more ends the call with status `OL`.",
  ),
  KERNELYARD_STDERR_LIMIT: setting(
    "stderrLimit",
    integer(1024, 64 * MIB),
    "65536",
    "Standard error of one call, in UTF-16 units; of more its beginning and its end are kept.",
  ),
  KERNELYARD_BUSY_WAIT_MS: sameAs(
    "busyWaitMs",
    integer(100, 3_600_000),
    "KERNELYARD_TIMEOUT_MS",
    "How long a call waits for its session before `runtime_session_busy`; never less than `KERNELYARD_TIMEOUT_MS`: LibreChat's Stop does not hang up, and the next message must outlast what was stopped.",
  ),
  KERNELYARD_BUSY_INTERRUPT_MS: optional(
    "busyInterruptMs",
    integer(0, 3_600_000),
    "A call that has run this long is interrupted as soon as another call of its session waits; the session keeps its variables. Default: never, the other call waits.",
  ),
  KERNELYARD_KEEP_ALIVE_MS: setting(
    "keepAliveMs",
    integer(0, 3_600_000).transform((ms) => (ms === 0 ? null : ms)),
    "30000",
    "A call whose code has run this long is sent a space, and another whenever this time has gone by, so that no proxy takes its connection for idle: JSON may begin with them. 0: never.",
  ),
  KERNELYARD_QUEUE_LENGTH: setting(
    "queueLength",
    integer(1, 10_000),
    "64",
    "Calls that may wait for one session.",
  ),
  KERNELYARD_IDLE_MS: setting(
    "idleMs",
    integer(1000, 7 * 86_400_000),
    "1800000",
    "Idle time after which a kernel that cannot sleep ends; the session's files stay.",
  ),
  KERNELYARD_CHECKPOINTS: setting(
    "checkpoints",
    z.enum(["auto", "off"]),
    "auto",
    "`auto`: sandboxes are made from checkpoints and idle sessions sleep, where a test at the start shows that this host can; elsewhere it is as with `off`, and `/health` says why. `off`: every sandbox starts anew, and a session that is idle for KERNELYARD_IDLE_MS loses its variables.",
  ),
  KERNELYARD_SLEEP_AFTER_MS: setting(
    "sleepAfterMs",
    integer(0, 7 * 86_400_000),
    "300000",
    "Idle time after which a session sleeps: its variables go to the disk and its memory is free, until the next call wakes it. 0: sessions do not sleep.",
  ),
  KERNELYARD_SLEEP_DISK: setting(
    "sleepDiskBytes",
    bytes(256 * MIB, 1024 * 1024 * GIB),
    "20g",
    "Disk for sessions asleep, about 160 MB for each plus its data. When it is full the one that slept longest loses its variables, never its files.",
  ),
  KERNELYARD_SESSION_VOLUME_TTL_MS: setting(
    "sessionVolumeTtlMs",
    integer(60_000, 3650 * 86_400_000),
    "2592000000",
    "Time after its last use when a session's volume is removed (30 days).",
  ),

  KERNELYARD_AUDIT_DAYS: setting(
    "auditDays",
    integer(0, 3650),
    "90",
    "Days that entries of the audit log are kept in the data directory; 0: there is none. Nothing is removed in `KERNELYARD_AUDIT_S3_BUCKET`.",
  ),
  KERNELYARD_AUDIT_BYTES: setting(
    "auditBytes",
    bytes(MIB, 1024 * GIB),
    "1g",
    "What the audit log may take of the disk; beyond it the oldest entries go before their time, and the log says so.",
  ),

  KERNELYARD_AUDIT_ERASED: setting(
    "auditErased",
    z.enum(["anonymous", "remove"]),
    "anonymous",
    "What becomes of the audit log's entries of a user who is erased: `anonymous` keeps what happened without who it was, `remove` removes them.",
  ),
  KERNELYARD_AUDIT_S3_BUCKET: optional(
    "auditS3Bucket",
    bucket,
    "Bucket with a copy of the audit log, at most minutes behind: `audit/HOST.ID/audit-DATE.N.jsonl`. The store is that of `KERNELYARD_S3_REGION` or `KERNELYARD_S3_ENDPOINT`, credentials come from AWS's default chain. Objects stay until the bucket's own lifecycle rules remove them; erasures reach them. Default: none.",
  ),
  KERNELYARD_AUDIT_S3_PREFIX: optional("auditS3Prefix", folders, "Folder in that bucket. Default: none."),

  KERNELYARD_FILE_STORE: setting(
    "fileStore",
    z.enum(["disk", "s3"]),
    "disk",
    "Where files live: `disk` is the data directory; `s3` a bucket that several gateways can share. Credentials for `s3` come from AWS's default chain (instance role, `AWS_*` variables).",
  ),
  KERNELYARD_S3_BUCKET: optional("s3Bucket", bucket, "Bucket of `KERNELYARD_FILE_STORE=s3`."),
  KERNELYARD_S3_PREFIX: optional(
    "s3Prefix",
    folders,
    "Folder in the bucket, for a bucket that holds other things too. Default: none.",
  ),
  KERNELYARD_S3_REGION: optional(
    "s3Region",
    z.string().regex(/^[a-z0-9-]{1,64}$/, "must be a region such as eu-central-1"),
    "Region of the bucket. Default with `KERNELYARD_S3_ENDPOINT`: `us-east-1`.",
  ),
  KERNELYARD_S3_ENDPOINT: optional(
    "s3Endpoint",
    z.url({ protocol: /^https?$/, error: "must be an address such as https://s3.example.org" }),
    "Address of an S3-compatible store, used with the bucket in the path. Default: AWS.",
  ),

  KERNELYARD_FLEET_URL: secret(
    "fleetUrl",
    z.url({
      protocol: /^rediss?$/,
      error: "must be an address such as rediss://:PASSWORD@valkey.example.org:6379",
    }),
    "Valkey or Redis (7.0 or newer, `maxmemory-policy noeviction`) in which several hosts keep who has which session: `redis://` or `rediss://`, with `?cluster=true` in cluster mode. Default: this host is alone.",
  ),
  KERNELYARD_FLEET_CA: optional(
    "fleetCa",
    z
      .string()
      .transform((text) =>
        text.includes("-----BEGIN") ? text : Buffer.from(text, "base64").toString("utf8"),
      )
      .refine(
        (text) => text.includes("-----BEGIN CERTIFICATE-----"),
        "must be a certificate (PEM, or base64 of it)",
      ),
    "Certificate (PEM, or base64 of it) that vouches for the engine of a `rediss://` address, or is its own. Default: the public authorities.",
  ),
  KERNELYARD_FLEET_NAME: setting(
    "fleetName",
    z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/, "must be up to 32 characters of A-Z a-z 0-9 -"),
    "kernelyard",
    "Name of the fleet; hosts of one name share sessions, and fleets of different names may share an engine.",
  ),
  KERNELYARD_FLEET_ADDRESS: optional(
    "fleetAddress",
    z
      .string()
      .regex(
        /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]{1,253}):\d{1,5}$/,
        "must be an address and a port such as 10.0.0.5:3114",
      )
      .refine((text) => {
        const port = Number(text.slice(text.lastIndexOf(":") + 1));
        return port > 0 && port < 65_536;
      }, "must have a port from 1 to 65535"),
    "Where the other hosts of the fleet reach this one, `ADDRESS:PORT`. It listens there, by TLS, for calls of sessions that it has; for other hosts alone.",
  ),
  KERNELYARD_FLEET_KEY: secret(
    "fleetKey",
    z.string().min(32, "must have at least 32 characters"),
    "What the hosts of the fleet sign forwarded calls with; the same for all of them, known to nobody else.",
  ),

  KERNELYARD_WORKSPACE_CHECKPOINT: setting(
    "workspaceCheckpoint",
    z.enum(["idle", "off"], "must be idle or off"),
    "idle",
    "In a fleet, a session's files are saved in the bucket when it has been idle for 5 s, at most once a minute, and when its host is drained: `idle`. `off`: they are on its host alone, and lost with it.",
  ),
  KERNELYARD_WORKSPACE_MAX_BYTES: setting(
    "workspaceMaxBytes",
    bytes(MIB, 64 * GIB),
    "256m",
    "The most that is saved of one session; one with more keeps its files on its host alone.",
  ),

  KERNELYARD_FILE_MAX_BYTES: setting(
    "fileMaxBytes",
    bytes(1, 64 * GIB),
    "150m",
    "Largest uploaded or collected file.",
  ),
  KERNELYARD_FILES_MAX: setting("filesMax", integer(1, 2000), "200", "Files in one batch upload."),
  KERNELYARD_OUTPUT_FILES_MAX: setting(
    "outputFilesMax",
    integer(0, 2000),
    "50",
    "Files collected from one call.",
  ),
  KERNELYARD_OUTPUT_TOTAL_BYTES: setting(
    "outputTotalBytes",
    bytes(0, 64 * GIB),
    "512m",
    "Bytes collected from one call.",
  ),
  KERNELYARD_FILES_PER_USER: setting(
    "filesPerUserBytes",
    bytes(MIB, 1024 * GIB),
    "5g",
    "Files that a token's user may have stored; an API key ten times as much.",
  ),
  KERNELYARD_FILES_TOTAL: optional(
    "filesTotalBytes",
    bytes(MIB, 1024 * 1024 * GIB),
    "All files together. Default: as much as the disk holds beside its reserve.",
  ),
  KERNELYARD_DISK_RESERVE: optional(
    "diskReserveBytes",
    bytes(0, 64 * 1024 * GIB),
    "Space on the data directory's disk that files and session volumes leave free. Default: a twentieth of the disk, at most 10 GiB.",
  ),
  KERNELYARD_FILE_TTL_MS: setting(
    "fileTtlMs",
    integer(60_000, 3650 * 86_400_000),
    "172800000",
    "Time after its last write when a file is removed (48 hours; LibreChat needs 24).",
  ),
} as const;

export type SettingName = keyof typeof SETTINGS;

type ValueOf<Spec> =
  Spec extends SettingSpec<string, infer Schema, infer Fallback>
    ? z.output<Schema> | (Fallback extends null ? null : never)
    : never;

/** What gateway and launcher run with. A new entry above is a new field here, a variable that is read, a line of the docs. */
export type Settings = {
  readonly [Name in SettingName as (typeof SETTINGS)[Name]["field"]]: ValueOf<(typeof SETTINGS)[Name]>;
};
