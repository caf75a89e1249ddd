/**
 * Proves that sandboxes are isolated before any is made: a container with a sandbox's own create body runs, and says
 * from inside what confines it. Anything short of that refuses, with the remedy.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import {
  INSTALL_COMMAND,
  INSTALLED_SECCOMP_PROFILE,
  type IsolationProblem,
  insideProblems,
  isolationProblems,
  profileProblem,
  type SeccompProfile,
  SHIPPED_SECCOMP_PROFILE,
  SHIPPED_SECCOMP_SHA256,
} from "../../host/isolation.ts";
import type { Engine } from "../engine/engine.ts";
import { IsolationError, messageOf } from "../errors.ts";
import type { Ceilings, CheckpointSupport } from "../spec/create-body.ts";
import { runOnce } from "./run-once.ts";

/**
 * The profile in force is always the shipped one. A host's installed copy that differs means that somebody relies on
 * another; without a copy (a launcher in a container) there is nothing to contradict.
 */
export function readSeccompProfile(path: string = INSTALLED_SECCOMP_PROFILE): SeccompProfile {
  let installed: string | null = null;
  try {
    installed = readFileSync(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  const problem = installed === null ? null : profileProblem(installed);
  if (problem !== null) throw new IsolationError(tell([problem]));
  return { json: SHIPPED_SECCOMP_PROFILE, sha256: SHIPPED_SECCOMP_SHA256 };
}

export interface ProbeInput {
  /** Names the container, so that a sweep meanwhile leaves it alone. */
  readonly id: string;
  readonly engine: Engine;
  readonly instance: string;
  readonly imageId: string;
  readonly seccomp: SeccompProfile;
  readonly ceilings: Ceilings;
  readonly checkpoints: CheckpointSupport | null;
}

export interface ProbeResult {
  readonly runtimeVersion: string;
}

const PROBE_DEADLINE_MS = 20_000;
const PROGRAM_DEADLINE_MS = 5_000;
const END_MARK = "kernelyard-probe-end";
const PROBE_COMMAND = `cat /proc/version /proc/self/status; echo ${END_MARK}`;
const REPAIR = `Repair the host: ${INSTALL_COMMAND}`;

/** Throws `IsolationError` when the host fails, and the engine's errors when it cannot be asked. */
export async function probeIsolation(input: ProbeInput): Promise<ProbeResult> {
  const { engine, ceilings } = input;
  const { runtimes } = await engine.version();
  const name = ceilings.isolation === "runsc" ? "runsc" : "runc";
  const identified = programIdentity(name, runtimes[name]?.path);
  if (ceilings.isolation === "runsc") {
    const problems = isolationProblems({ runtimes, installedProfile: input.seccomp.json });
    if (problems.length > 0) throw new IsolationError(tell(problems));
  }
  const said = await runProbe(input);
  const failures = insideProblems(said, { gvisor: ceilings.isolation === "runsc" });
  if (failures.length > 0) {
    throw new IsolationError(
      `A probe container under ${ceilings.isolation} is not isolated: ${failures.join("; ")}. ${REPAIR}`,
    );
  }
  return {
    runtimeVersion:
      (await identified) ?? `${name} (kernel ${/^Linux version (\S+)/m.exec(said)?.[1] ?? "unknown"})`,
  };
}

async function runProbe(input: ProbeInput): Promise<string> {
  const { ceilings, checkpoints, engine, id, imageId, instance, seccomp } = input;
  const ran = await runOnce({
    engine,
    sandbox: {
      id,
      instance,
      profile: "probe",
      imageId,
      seccomp: seccomp.json,
      ceilings,
      data: { kind: "fresh" },
      checkpoints,
    },
    command: ["/bin/sh", "-c", PROBE_COMMAND],
    answered: (stdout) => stdout.includes(END_MARK),
    withinMs: PROBE_DEADLINE_MS,
  });
  switch (ran.state) {
    case "not-started":
      throw new IsolationError(
        `A probe container does not start under ${ceilings.isolation}: ${messageOf(ran.error)}. ${REPAIR}`,
      );
    case "silent":
      throw new IsolationError(`A probe container gave no answer in ${PROBE_DEADLINE_MS} ms.`);
    default:
      return ran.stdout;
  }
}

/**
 * What an operator can compare: the program's version, or the digest of one that was built without (a source build of
 * runsc says VERSION_MISSING). Null where the engine's programs are out of sight, as from within a container.
 */
export async function programIdentity(name: string, path: string | undefined): Promise<string | null> {
  if (path === undefined) return null;
  try {
    const { stdout } = await promisify(execFile)(path, ["--version"], { timeout: PROGRAM_DEADLINE_MS });
    const version = stdout.split("\n")[0]?.trim() ?? "";
    if (version !== "" && !version.includes("VERSION_MISSING")) return version;
    const hash = createHash("sha256");
    await pipeline(createReadStream(path), hash);
    return `${name} built from source, sha256 ${hash.digest("hex").slice(0, 12)}`;
  } catch {
    return null;
  }
}

function tell(problems: readonly IsolationProblem[]): string {
  return problems.map((problem) => `${problem.message} Remedy: ${problem.remedy}`).join(" ");
}
