/**
 * Runs an image the way sandboxes run, and lets it prove what it promises. An import that works under runc can fail
 * under gVisor with our seccomp profile, so nothing else counts.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { INSTALLED_SECCOMP_PROFILE, isolationProblems } from "../../../gateway/host/isolation.ts";
import { lastWords } from "../command.ts";
import { docker, mustDocker } from "../engine.ts";
import { supervisorProblem } from "./supervisor.ts";

const VERIFY_TIMEOUT_MS = 600_000;
/** The same as the smallest sandbox that the specification has. */
const MEMORY_BYTES = 512 * 1024 * 1024;
/** Compiled programs run from here; without `exec` the engine mounts with `noexec`. */
const TMPFS = "rw,exec,nosuid,nodev";

const Check = z.object({ check: z.string(), ok: z.boolean(), seconds: z.number(), detail: z.string() });
export type Check = z.output<typeof Check>;

export interface VerifyOptions {
  readonly runtime: "runsc" | "runc";
  readonly seccompProfile: string;
}

/** From the environment, as the launcher has it. */
export const verifyOptions = (env: NodeJS.ProcessEnv = process.env): VerifyOptions => ({
  runtime: env.KERNELYARD_ISOLATION === "runc-unsafe" ? "runc" : "runsc",
  seccompProfile: INSTALLED_SECCOMP_PROFILE,
});

/** Where the proofs differ from a sandbox: what runs, and how the container is found again. */
export interface RunOptions {
  /** Default: the image's own, the supervisor. */
  readonly entrypoint?: string;
  readonly name?: string;
  readonly interactive?: boolean;
}

/** `docker run` with a sandbox's limits. */
export const sandboxRunArgs = (
  image: string,
  options: VerifyOptions,
  run: RunOptions,
  args: readonly string[] = [],
): readonly string[] => [
  ...["run", "--rm", "--pull=never", `--runtime=${options.runtime}`, "--network=none", "--read-only"],
  ...[`--tmpfs=/tmp:${TMPFS},size=64m,mode=1777`],
  ...[`--tmpfs=/mnt/data:${TMPFS},size=64m,uid=10001,gid=10001`],
  ...[`--memory=${MEMORY_BYTES}`, `--memory-swap=${MEMORY_BYTES}`, "--pids-limit=1024", "--cap-drop=ALL"],
  `--env=KERNELYARD_SANDBOX_MEMORY=${MEMORY_BYTES}`,
  ...["--security-opt=no-new-privileges", `--security-opt=seccomp=${options.seccompProfile}`],
  ...["--label=kernelyard.kind=verify", "--log-driver=none"],
  ...(run.interactive === true ? ["--interactive"] : []),
  ...(run.name === undefined ? [] : [`--name=${run.name}`]),
  ...(run.entrypoint === undefined ? [] : [`--entrypoint=${run.entrypoint}`]),
  image,
  ...args,
];

/** The script travels as an argument: a bind mount would need the engine to see this machine's files. */
const START = 'printf %s "$0" > /tmp/smoke.py && exec python3 /tmp/smoke.py "$@"';

const Runtimes = z.record(z.string(), z.object({ runtimeArgs: z.array(z.string()).nullish() }));

/** Before minutes go into a build whose result could not be verified. */
export async function requireIsolation(options: VerifyOptions): Promise<void> {
  const installedProfile = existsSync(options.seccompProfile)
    ? readFileSync(options.seccompProfile, "utf8")
    : null;
  const listed = await mustDocker("Asking the engine for its runtimes", [
    ...["info", "--format", "{{json .Runtimes}}"],
  ]);
  const problems = isolationProblems({
    runtimes: Runtimes.parse(JSON.parse(listed)),
    installedProfile,
  }).filter(
    // Where the operator has chosen to do without gVisor, its entry is not needed.
    (problem) =>
      options.runtime === "runsc" || problem.id === "no-profile" || problem.id === "changed-profile",
  );
  if (problems.length === 0) return;
  const lines = problems.map((problem) => `- ${problem.message} Remedy: ${problem.remedy}`);
  throw new Error(`The image could not be verified on this host, so it is not built:\n${lines.join("\n")}`);
}

/** Throws, naming what failed, unless every check passed. `names`: distributions that the image's lists have. */
export async function verifyImage(
  image: string,
  options: VerifyOptions,
  names: readonly string[],
): Promise<readonly Check[]> {
  const smoke = readFileSync(join(import.meta.dirname, "smoke.py"), "utf8");
  const container = `kernelyard-verify-${randomBytes(8).toString("hex")}`;
  const run = { entrypoint: "/bin/bash", name: container };
  const result = await docker(sandboxRunArgs(image, options, run, ["-c", START, smoke, ...names]), {
    timeoutMs: VERIFY_TIMEOUT_MS,
  });
  // A client that was ended leaves its container running.
  if (result.timedOut) await docker(["rm", "--force", container]);
  const checks = result.stdout.split("\n").flatMap((line) => {
    if (!line.startsWith('{"check"')) return [];
    return [Check.parse(JSON.parse(line))];
  });
  const failed = checks.filter((check) => !check.ok);
  if (result.code === 0 && failed.length === 0 && checks.length > names.length) {
    const started = performance.now();
    const problem = await supervisorProblem(
      sandboxRunArgs(image, options, { name: container, interactive: true }),
      container,
    );
    const seconds = (performance.now() - started) / 1000;
    if (problem === null)
      return [...checks, { check: "supervisor", ok: true, seconds, detail: "state is kept" }];
    failed.push({ check: "supervisor", ok: false, seconds, detail: problem });
  }
  const reasons = failed.map((check) => `- ${check.check}: ${check.detail.trim()}`);
  if (reasons.length === 0) {
    reasons.push(
      result.timedOut
        ? `- no result within ${VERIFY_TIMEOUT_MS / 1000} s`
        : `- ended with ${result.code ?? "a signal"} after ${checks.at(-1)?.check ?? "no check"}: ${lastWords(result)}`,
    );
  }
  throw new Error(
    `The image does not work as a sandbox under ${options.runtime} and is refused:\n${reasons.join("\n")}`,
  );
}
