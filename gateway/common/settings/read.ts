/** The one reader of `KERNELYARD_*`: the environment in, typed settings or a list of everything that is wrong out. */
import { join } from "node:path";
import type { z } from "@hono/zod-openapi";
import { imageOf, profileTable } from "../profiles.ts";
import { SETTINGS, type SettingSpec, type Settings } from "./schema.ts";
import { visible } from "./visible.ts";

export type { Settings } from "./schema.ts";

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
/** A quote may be part of a key; whoever reads keys says what it makes of one. */
const KEEPS_QUOTES = "KERNELYARD_API_KEYS";
/** Ours but for what a file's editor or a shell's habit put before it. */
const BLURRED_NAME = /^(?:\W+|export\s+)KERNELYARD_/;
/** Further away than this a name is no suggestion. */
const NEAR = 6;

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
  return `${visible(name)}: no such setting; ${remedy}`;
}

/**
 * A value as it was meant. Compose files and units write `NAME=` for "not set"; `docker run --env-file` hands on the
 * quotes of a file, its blanks, and the carriage returns of Windows.
 */
function given(env: Environment, name: string): string | null {
  const text = (env[name] ?? "").trim();
  const unquoted = name === KEEPS_QUOTES ? null : /^(["'])(.*)\1$/s.exec(text);
  return (unquoted?.[2]?.trim() ?? text) || null;
}

function problemWith(name: string, spec: SettingSpec, text: string, error: z.ZodError): string {
  const what = [...new Set(error.issues.map((issue) => issue.message))].join("; ");
  const shown = spec.secret ? name : `${name}=${visible(text.slice(0, 80))}`;
  const remedy =
    typeof spec.fallback === "string" ? `remove it for the default ${spec.fallback}` : "remove it";
  return `${shown}: ${what}. Correct it, or ${remedy}.`;
}

type Values = Record<string, unknown>;

function defaultOf({ schema, fallback }: SettingSpec, dataDir: string, earlier: Values): unknown {
  if (fallback === null) return null;
  if (typeof fallback === "string") return schema.parse(fallback);
  if ("below" in fallback) return join(dataDir, fallback.below);
  return "imageOf" in fallback ? imageOf(String(earlier[fallback.imageOf])) : earlier[fallback.sameAs];
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
    settings.busyWaitMs < settings.timeoutMs,
    `KERNELYARD_BUSY_WAIT_MS=${settings.busyWaitMs}: is shorter than KERNELYARD_TIMEOUT_MS=${settings.timeoutMs}, so that a session's next message would be refused while a stopped one still runs. Raise the one or lower the other.`,
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
    settings.jwtKid !== null && settings.jwtJwksUrl !== null,
    "KERNELYARD_JWT_KID: without effect while KERNELYARD_JWT_JWKS_URL is set, whose keys carry their own names. Remove it.",
  );
  check(
    Buffer.byteLength(settings.launcherSocket) > 107,
    `KERNELYARD_LAUNCHER_SOCKET: ${settings.launcherSocket} is longer than the 107 bytes that a unix socket's path may have. Set a shorter path.`,
  );
  const offered = profileTable(settings).map(({ name }) => name);
  const twice = offered.find((name, index) => offered.indexOf(name) !== index);
  check(
    twice !== undefined,
    `KERNELYARD_PROFILES: names ${twice} a second time; KERNELYARD_PROFILE=${settings.profile} counts. Remove one of them.`,
  );
  for (const [tenant, profile] of settings.tenantProfiles ?? []) {
    check(
      !offered.includes(profile),
      `KERNELYARD_TENANT_PROFILES: gives ${tenant} the profile ${profile}, and this host has ${offered.join(", ")}. Add it to KERNELYARD_PROFILES.`,
    );
  }
  check(
    settings.metricsPort !== 0 && settings.metricsPort === settings.port,
    `KERNELYARD_METRICS_PORT=${settings.metricsPort}: is KERNELYARD_PORT as well. Change one of them, or set KERNELYARD_METRICS_PORT=0 for no metrics.`,
  );
  for (const [name, port] of [
    ["KERNELYARD_PORT", settings.port],
    ["KERNELYARD_METRICS_PORT", settings.metricsPort],
  ] as const) {
    check(
      settings.operatorKey !== null && settings.consolePort !== 0 && settings.consolePort === port,
      `KERNELYARD_CONSOLE_PORT=${settings.consolePort}: is ${name} as well. Change one of them, or set KERNELYARD_CONSOLE_PORT=0 for no console.`,
    );
  }
  const s3 = settings.fileStore === "s3";
  check(
    s3 && settings.s3Bucket === null,
    "KERNELYARD_FILE_STORE=s3: needs a bucket. Set KERNELYARD_S3_BUCKET, or remove KERNELYARD_FILE_STORE for files on the disk.",
  );
  check(
    s3 && settings.s3Region === null && settings.s3Endpoint === null,
    "KERNELYARD_FILE_STORE=s3: needs to know where the bucket is. Set KERNELYARD_S3_REGION for AWS, KERNELYARD_S3_ENDPOINT for another store.",
  );
  const auditCopy = settings.auditS3Bucket !== null;
  check(
    auditCopy && settings.s3Region === null && settings.s3Endpoint === null,
    "KERNELYARD_AUDIT_S3_BUCKET: needs to know where the bucket is. Set KERNELYARD_S3_REGION for AWS, KERNELYARD_S3_ENDPOINT for another store.",
  );
  check(
    auditCopy && settings.auditDays === 0,
    "KERNELYARD_AUDIT_S3_BUCKET: there is no audit log to copy with KERNELYARD_AUDIT_DAYS=0. Remove one of them.",
  );
  check(
    !auditCopy && settings.auditS3Prefix !== null,
    "KERNELYARD_AUDIT_S3_PREFIX: without effect while KERNELYARD_AUDIT_S3_BUCKET is not set. Set that, or remove it.",
  );
  const unused = (
    [
      ["KERNELYARD_S3_BUCKET", settings.s3Bucket],
      ["KERNELYARD_S3_PREFIX", settings.s3Prefix],
      // The copy of the audit log is in the same store.
      ["KERNELYARD_S3_REGION", auditCopy ? null : settings.s3Region],
      ["KERNELYARD_S3_ENDPOINT", auditCopy ? null : settings.s3Endpoint],
    ] as const
  ).flatMap(([name, value]) => (value === null ? [] : [name]));
  check(
    !s3 && unused.length > 0,
    `${unused.join(", ")}: without effect while KERNELYARD_FILE_STORE is disk. Set KERNELYARD_FILE_STORE=s3, or remove it.`,
  );
  const fleet = settings.fleetUrl !== null;
  const ofFleet = [
    ["KERNELYARD_FLEET_ADDRESS", settings.fleetAddress],
    ["KERNELYARD_FLEET_KEY", settings.fleetKey],
  ] as const;
  for (const [name, value] of ofFleet) {
    check(
      fleet && value === null,
      `KERNELYARD_FLEET_URL: needs ${name} as well. Set it, or remove KERNELYARD_FLEET_URL for a host that is alone.`,
    );
    check(
      !fleet && value !== null,
      `${name}: without effect while KERNELYARD_FLEET_URL is not set. Set that, or remove it.`,
    );
  }
  check(
    settings.fleetCa !== null && settings.fleetUrl?.startsWith("rediss:") !== true,
    "KERNELYARD_FLEET_CA: without effect while KERNELYARD_FLEET_URL is not an address of rediss://. Change that, or remove it.",
  );
  check(
    fleet && !s3,
    "KERNELYARD_FLEET_URL: files must be where every host of the fleet reaches them. Set KERNELYARD_FILE_STORE=s3.",
  );
  check(
    fleet && settings.auth.includes("api-key") && settings.apiKeys === null,
    "KERNELYARD_FLEET_URL: every host of the fleet must know the same keys, and each would make its own. Set KERNELYARD_API_KEYS, or leave api-key out of KERNELYARD_AUTH.",
  );
  check(
    fleet && settings.auth.includes("jwt") && settings.jwtPublicKey === null && settings.jwtJwksUrl === null,
    "KERNELYARD_FLEET_URL: every host of the fleet must verify the same tokens, and each would make a pair of its own. Set KERNELYARD_JWT_PUBLIC_KEY or KERNELYARD_JWT_JWKS_URL, or leave jwt out of KERNELYARD_AUTH.",
  );
  return problems;
}

/** The longest that a connection stays silent: a call waits for its session, then runs. */
export const longestAnswerMs = ({
  busyWaitMs,
  timeoutMaxMs,
}: Pick<Settings, "busyWaitMs" | "timeoutMaxMs">) => busyWaitMs + timeoutMaxMs;

/** Throws `SettingsError` with every problem at once. */
export function readSettings(env: Environment): Settings {
  const problems = Object.keys(env)
    .filter((name) => (name.startsWith(PREFIX) && !Object.hasOwn(SETTINGS, name)) || BLURRED_NAME.test(name))
    .map(unknownName);
  const dataDir = given(env, "KERNELYARD_DATA_DIR") ?? SETTINGS.KERNELYARD_DATA_DIR.fallback;
  const values: Values = {};
  const byName: Values = {};
  for (const [name, spec] of Object.entries<SettingSpec>(SETTINGS)) {
    const text = given(env, name);
    const parsed = text === null ? null : spec.schema.safeParse(text);
    if (text !== null && parsed?.success === false) {
      problems.push(problemWith(name, spec, text, parsed.error));
      continue;
    }
    const value = parsed === null ? defaultOf(spec, dataDir, byName) : parsed.data;
    values[spec.field] = byName[name] = value;
  }
  if (problems.length > 0) throw new SettingsError(problems);

  // One value for each entry of the table, made by that entry's schema: what the type says.
  const settings = values as Settings;
  const contradicted = contradictions(settings);
  if (contradicted.length > 0) throw new SettingsError(contradicted);
  return settings;
}
