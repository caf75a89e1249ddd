/** The one reader of `KERNELYARD_*`: the environment in, typed settings or a list of everything that is wrong out. */
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { SETTINGS, type SettingName, type SettingSpec } from "./schema.ts";

type Value<K extends SettingName> = z.output<(typeof SETTINGS)[K]["schema"]>;

/** Units are in the names: bytes, milliseconds (`Ms`), seconds (`S`). */
export interface Settings {
  readonly host: Value<"KERNELYARD_HOST">;
  readonly port: Value<"KERNELYARD_PORT">;
  readonly dataDir: string;
  readonly launcherSocket: string;
  readonly dockerSocket: string;
  readonly logLevel: Value<"KERNELYARD_LOG_LEVEL">;
  readonly auth: Value<"KERNELYARD_AUTH">;
  readonly apiKeys: string | null;
  readonly jwtPublicKey: string | null;
  readonly jwtJwksUrl: string | null;
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  readonly jwtMaxLifetimeS: number;
  readonly rateLimits: Value<"KERNELYARD_RATE_LIMITS">;
  readonly isolation: Value<"KERNELYARD_ISOLATION">;
  readonly image: string;
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly pids: number;
  readonly sessionDiskBytes: number;
  readonly freshDiskBytes: number;
  /** `null`: the launcher derives it from the host's memory. */
  readonly memoryBudgetBytes: number | null;
  readonly poolSize: number;
  readonly timeoutMs: number;
  readonly timeoutMaxMs: number;
  readonly stdoutLimit: number;
  readonly stderrLimit: number;
  readonly busyWaitMs: number;
  readonly queueLength: number;
  readonly idleMs: number;
  readonly sessionVolumeTtlMs: number;
  readonly fileStore: Value<"KERNELYARD_FILE_STORE">;
  readonly s3Bucket: string | null;
  /** `null`, or ending in `/`. */
  readonly s3Prefix: string | null;
  readonly s3Region: string | null;
  readonly s3Endpoint: string | null;
  readonly fileMaxBytes: number;
  readonly filesMax: number;
  readonly outputFilesMax: number;
  readonly outputTotalBytes: number;
  readonly fileTtlMs: number;
}

export const DEFAULT_DATA_DIR = "/var/lib/kernelyard";

/** The environment cannot be used; `problems` names each variable and what to do about it. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`Settings cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = "KERNELYARD_";
/** Values that are never repeated in a message. */
const SECRET: ReadonlySet<string> = new Set(["KERNELYARD_API_KEYS", "KERNELYARD_JWT_PUBLIC_KEY"]);
/** Further away than this a name is no suggestion. */
const NEAR = 6;

const SettingNames = z.array(
  z.custom<SettingName>((name) => typeof name === "string" && Object.hasOwn(SETTINGS, name)),
);

/** Edits (insert, delete, replace) from `a` to `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function unknownName(name: string): string {
  const nearest = Object.keys(SETTINGS)
    .map((known) => ({ known, edits: distance(name, known) }))
    .sort((a, b) => a.edits - b.edits)[0];
  const remedy =
    nearest !== undefined && nearest.edits <= NEAR
      ? `did you mean ${nearest.known}? Otherwise remove it.`
      : "remove it; docs/settings.md lists every setting.";
  return `${name}: no such setting; ${remedy}`;
}

/** Compose files and units write `NAME=` for "not set". */
const given = (env: Environment, name: SettingName): string | null => env[name] || null;

function badValue(env: Environment, name: SettingName): string | null {
  const spec: SettingSpec<z.ZodType> = SETTINGS[name];
  const text = given(env, name);
  if (text === null) return null;
  const parsed = spec.schema.safeParse(text);
  if (parsed.success) return null;
  const what = [...new Set(parsed.error.issues.map((issue) => issue.message))].join("; ");
  const shown = SECRET.has(name) ? name : `${name}=${text.slice(0, 80)}`;
  const fallback = spec.fallback === null ? "remove it" : `remove it for the default ${spec.fallback}`;
  return `${shown}: ${what}. Correct it, or ${fallback}.`;
}

/** Rules between settings. */
function contradictions(settings: Settings): string[] {
  const problems: string[] = [];
  const check = (broken: boolean, problem: string) => {
    if (broken) problems.push(problem);
  };
  check(
    settings.timeoutMs > settings.timeoutMaxMs,
    `KERNELYARD_TIMEOUT_MS=${settings.timeoutMs}: is longer than KERNELYARD_TIMEOUT_MAX_MS=${settings.timeoutMaxMs}. Lower the one or raise the other.`,
  );
  check(
    settings.freshDiskBytes >= settings.memoryBytes,
    `KERNELYARD_FRESH_DISK: ${settings.freshDiskBytes} bytes count against KERNELYARD_MEMORY (${settings.memoryBytes} bytes) and leave nothing. Lower the one or raise the other.`,
  );
  check(
    settings.memoryBudgetBytes !== null && settings.memoryBudgetBytes < settings.memoryBytes,
    `KERNELYARD_MEMORY_BUDGET=${settings.memoryBudgetBytes}: not even one sandbox fits (KERNELYARD_MEMORY is ${settings.memoryBytes} bytes). Raise it, or lower KERNELYARD_MEMORY.`,
  );
  check(
    settings.jwtPublicKey !== null && settings.jwtJwksUrl !== null,
    "KERNELYARD_JWT_PUBLIC_KEY and KERNELYARD_JWT_JWKS_URL: only one can verify tokens. Remove one of them.",
  );
  check(
    Buffer.byteLength(settings.launcherSocket) > 107,
    `KERNELYARD_LAUNCHER_SOCKET: ${settings.launcherSocket} is longer than the 107 bytes that a unix socket's path may have. Set a shorter path.`,
  );
  const s3 = settings.fileStore === "s3";
  check(
    s3 && settings.s3Bucket === null,
    "KERNELYARD_FILE_STORE=s3: needs a bucket. Set KERNELYARD_S3_BUCKET, or remove KERNELYARD_FILE_STORE for files on the disk.",
  );
  check(
    s3 && settings.s3Region === null && settings.s3Endpoint === null,
    "KERNELYARD_FILE_STORE=s3: needs to know where the bucket is. Set KERNELYARD_S3_REGION for AWS, KERNELYARD_S3_ENDPOINT for another store.",
  );
  const unused = (
    [
      ["KERNELYARD_S3_BUCKET", settings.s3Bucket],
      ["KERNELYARD_S3_PREFIX", settings.s3Prefix],
      ["KERNELYARD_S3_REGION", settings.s3Region],
      ["KERNELYARD_S3_ENDPOINT", settings.s3Endpoint],
    ] as const
  ).flatMap(([name, value]) => (value === null ? [] : [name]));
  check(
    !s3 && unused.length > 0,
    `${unused.join(", ")}: without effect while KERNELYARD_FILE_STORE is disk. Set KERNELYARD_FILE_STORE=s3, or remove it.`,
  );
  return problems;
}

/** Throws `SettingsError` with every problem at once. */
export function readSettings(env: Environment): Settings {
  const names = SettingNames.parse(Object.keys(SETTINGS));
  const problems = Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !Object.hasOwn(SETTINGS, name))
    .map(unknownName);
  for (const name of names) {
    const problem = badValue(env, name);
    if (problem !== null) problems.push(problem);
  }
  if (problems.length > 0) throw new SettingsError(problems);

  const optional = <T extends z.ZodType>(name: SettingName, { schema, fallback }: SettingSpec<T>) => {
    const text = given(env, name) ?? fallback;
    return text === null ? null : schema.parse(text);
  };
  const value = <T extends z.ZodType>(name: SettingName, spec: SettingSpec<T>) => {
    const present = optional(name, spec);
    if (present === null) throw new SettingsError([`${name}: has no default and must be set.`]);
    return present;
  };

  const dataDir = optional("KERNELYARD_DATA_DIR", SETTINGS.KERNELYARD_DATA_DIR) ?? DEFAULT_DATA_DIR;
  const settings: Settings = {
    host: value("KERNELYARD_HOST", SETTINGS.KERNELYARD_HOST),
    port: value("KERNELYARD_PORT", SETTINGS.KERNELYARD_PORT),
    dataDir,
    launcherSocket:
      optional("KERNELYARD_LAUNCHER_SOCKET", SETTINGS.KERNELYARD_LAUNCHER_SOCKET) ??
      join(dataDir, "run/launcher.sock"),
    dockerSocket: value("KERNELYARD_DOCKER_SOCKET", SETTINGS.KERNELYARD_DOCKER_SOCKET),
    logLevel: value("KERNELYARD_LOG_LEVEL", SETTINGS.KERNELYARD_LOG_LEVEL),
    auth: value("KERNELYARD_AUTH", SETTINGS.KERNELYARD_AUTH),
    apiKeys: optional("KERNELYARD_API_KEYS", SETTINGS.KERNELYARD_API_KEYS),
    jwtPublicKey: optional("KERNELYARD_JWT_PUBLIC_KEY", SETTINGS.KERNELYARD_JWT_PUBLIC_KEY),
    jwtJwksUrl: optional("KERNELYARD_JWT_JWKS_URL", SETTINGS.KERNELYARD_JWT_JWKS_URL),
    jwtIssuer: value("KERNELYARD_JWT_ISSUER", SETTINGS.KERNELYARD_JWT_ISSUER),
    jwtAudience: value("KERNELYARD_JWT_AUDIENCE", SETTINGS.KERNELYARD_JWT_AUDIENCE),
    jwtMaxLifetimeS: value("KERNELYARD_JWT_MAX_LIFETIME_S", SETTINGS.KERNELYARD_JWT_MAX_LIFETIME_S),
    rateLimits: value("KERNELYARD_RATE_LIMITS", SETTINGS.KERNELYARD_RATE_LIMITS),
    isolation: value("KERNELYARD_ISOLATION", SETTINGS.KERNELYARD_ISOLATION),
    image: value("KERNELYARD_IMAGE", SETTINGS.KERNELYARD_IMAGE),
    memoryBytes: value("KERNELYARD_MEMORY", SETTINGS.KERNELYARD_MEMORY),
    cpus: value("KERNELYARD_CPUS", SETTINGS.KERNELYARD_CPUS),
    pids: value("KERNELYARD_PIDS", SETTINGS.KERNELYARD_PIDS),
    sessionDiskBytes: value("KERNELYARD_SESSION_DISK", SETTINGS.KERNELYARD_SESSION_DISK),
    freshDiskBytes: value("KERNELYARD_FRESH_DISK", SETTINGS.KERNELYARD_FRESH_DISK),
    memoryBudgetBytes: optional("KERNELYARD_MEMORY_BUDGET", SETTINGS.KERNELYARD_MEMORY_BUDGET),
    poolSize: value("KERNELYARD_POOL_SIZE", SETTINGS.KERNELYARD_POOL_SIZE),
    timeoutMs: value("KERNELYARD_TIMEOUT_MS", SETTINGS.KERNELYARD_TIMEOUT_MS),
    timeoutMaxMs: value("KERNELYARD_TIMEOUT_MAX_MS", SETTINGS.KERNELYARD_TIMEOUT_MAX_MS),
    stdoutLimit: value("KERNELYARD_STDOUT_LIMIT", SETTINGS.KERNELYARD_STDOUT_LIMIT),
    stderrLimit: value("KERNELYARD_STDERR_LIMIT", SETTINGS.KERNELYARD_STDERR_LIMIT),
    busyWaitMs: value("KERNELYARD_BUSY_WAIT_MS", SETTINGS.KERNELYARD_BUSY_WAIT_MS),
    queueLength: value("KERNELYARD_QUEUE_LENGTH", SETTINGS.KERNELYARD_QUEUE_LENGTH),
    idleMs: value("KERNELYARD_IDLE_MS", SETTINGS.KERNELYARD_IDLE_MS),
    sessionVolumeTtlMs: value("KERNELYARD_SESSION_VOLUME_TTL_MS", SETTINGS.KERNELYARD_SESSION_VOLUME_TTL_MS),
    fileStore: value("KERNELYARD_FILE_STORE", SETTINGS.KERNELYARD_FILE_STORE),
    s3Bucket: optional("KERNELYARD_S3_BUCKET", SETTINGS.KERNELYARD_S3_BUCKET),
    s3Prefix: optional("KERNELYARD_S3_PREFIX", SETTINGS.KERNELYARD_S3_PREFIX),
    s3Region: optional("KERNELYARD_S3_REGION", SETTINGS.KERNELYARD_S3_REGION),
    s3Endpoint: optional("KERNELYARD_S3_ENDPOINT", SETTINGS.KERNELYARD_S3_ENDPOINT),
    fileMaxBytes: value("KERNELYARD_FILE_MAX_BYTES", SETTINGS.KERNELYARD_FILE_MAX_BYTES),
    filesMax: value("KERNELYARD_FILES_MAX", SETTINGS.KERNELYARD_FILES_MAX),
    outputFilesMax: value("KERNELYARD_OUTPUT_FILES_MAX", SETTINGS.KERNELYARD_OUTPUT_FILES_MAX),
    outputTotalBytes: value("KERNELYARD_OUTPUT_TOTAL_BYTES", SETTINGS.KERNELYARD_OUTPUT_TOTAL_BYTES),
    fileTtlMs: value("KERNELYARD_FILE_TTL_MS", SETTINGS.KERNELYARD_FILE_TTL_MS),
  };
  const contradicted = contradictions(settings);
  if (contradicted.length > 0) throw new SettingsError(contradicted);
  return settings;
}
