/**
 * What an isolated Docker host is, for the programs that rely on it: names, paths, the shipped seccomp profile, and
 * pure checks of what a machine says about itself. `install.sh` makes a machine so from the files named here.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";

/** The user the gateway runs as, and the group of the launcher's socket. */
export const SERVICE_USER = "kernelyard";

/** Where `install.sh` puts the profile on a host. */
export const INSTALLED_SECCOMP_PROFILE = "/etc/kernelyard/seccomp.json";

/** Where the launcher leaves notes for the checkpoint runtime; `checkpoint-runtime.sh` names it too. */
export const CHECKPOINT_NOTES = "/run/kernelyard/checkpoint-notes";

/** The command that repairs what the checks below find. */
export const INSTALL_COMMAND = "sudo bash gateway/host/install.sh";

/** All that a machine without Node and without this repository needs; relative to this folder. */
export const HOST_FILES = [
  "install.sh",
  "lib/say.sh",
  "lib/packages.sh",
  "lib/gvisor.sh",
  "lib/engine.sh",
  "checkpoint-runtime.sh",
  "daemon_config.py",
  "runtime.json",
  "seccomp/profile.json",
] as const;

/**
 * `essential`: without these the isolation is not what is promised. `tolerated`: isolates as well, and somebody else's
 * runtime may need it.
 */
const RuntimeFile = z.object({
  name: z.string(),
  checkpoint_name: z.string(),
  arguments: z.array(z.string()),
  essential: z.array(z.string()),
  tolerated: z.array(z.string()),
});

const runtime = RuntimeFile.parse(
  JSON.parse(readFileSync(join(import.meta.dirname, "runtime.json"), "utf8")),
);
export const RUNTIME_NAME = runtime.name;
/** The same runsc behind `checkpoint-runtime.sh`: it restores and saves containers where a note asks for it. */
export const CHECKPOINT_RUNTIME_NAME = runtime.checkpoint_name;
export const RUNTIME_ARGUMENTS: readonly string[] = runtime.arguments;

/** The shipped profile; its text, as it goes into a container's create body; its hash. */
export const SHIPPED_SECCOMP_FILE = join(import.meta.dirname, "seccomp/profile.json");
export const SHIPPED_SECCOMP_PROFILE = readFileSync(SHIPPED_SECCOMP_FILE, "utf8");
export const SHIPPED_SECCOMP_SHA256 = sha256(SHIPPED_SECCOMP_PROFILE);

/** A profile whose text has been verified. */
export interface SeccompProfile {
  readonly json: string;
  readonly sha256: string;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** What a host says about itself: `GET /info` of the engine, and the installed profile's text. */
export interface HostFacts {
  /** The engine's runtimes by name; arguments where the engine tells them. */
  readonly runtimes: Readonly<
    Record<string, { readonly runtimeArgs?: readonly string[] | null | undefined }>
  >;
  /** `null`: there is no such file. */
  readonly installedProfile: string | null;
}

export interface IsolationProblem {
  readonly id: "no-runtime" | "runtime-arguments" | "no-profile" | "changed-profile";
  readonly message: string;
  readonly remedy: string;
}

/** Everything that keeps this host from isolating sandboxes as designed; empty when all is well. */
export function isolationProblems(facts: HostFacts): IsolationProblem[] {
  const problems: IsolationProblem[] = [];
  const entry = facts.runtimes[RUNTIME_NAME];
  if (entry === undefined) {
    problems.push({
      id: "no-runtime",
      message: `The engine has no runtime \`${RUNTIME_NAME}\` (gVisor).`,
      remedy: INSTALL_COMMAND,
    });
  } else {
    const missing = missingArguments(entry.runtimeArgs ?? []);
    if (missing.length > 0) {
      problems.push({
        id: "runtime-arguments",
        message: `The engine's runtime \`${RUNTIME_NAME}\` runs without ${missing.join(" ")}.`,
        remedy: INSTALL_COMMAND,
      });
    }
  }
  const problem = profileProblem(facts.installedProfile);
  if (problem !== null) problems.push(problem);
  return problems;
}

/** `said`: `/proc/version` and a process's own `/proc/self/status`, read inside a sandbox. Empty when it is isolated. */
export function insideProblems(said: string, { gvisor }: { readonly gvisor: boolean }): string[] {
  const kernel = /^Linux version (\S+)/m.exec(said)?.[1] ?? "";
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(said)?.[1] ?? "missing";
  return [
    gvisor && !kernel.endsWith("-gvisor") ? `the kernel inside is ${kernel || "unknown"}, not gVisor` : null,
    field("Seccomp") !== "2" ? `no seccomp filter is in force inside (Seccomp: ${field("Seccomp")})` : null,
    field("NoNewPrivs") !== "1" ? "privileges can be gained inside" : null,
    /^0+$/.test(field("CapEff")) ? null : `capabilities inside: ${field("CapEff")}`,
  ].filter((problem) => problem !== null);
}

/** Why sandboxes cannot be saved and restored under this engine; null when they can. */
export function checkpointRuntimeProblem(runtimes: HostFacts["runtimes"]): string | null {
  const entry = runtimes[CHECKPOINT_RUNTIME_NAME];
  if (entry === undefined) {
    return `the engine has no runtime \`${CHECKPOINT_RUNTIME_NAME}\`: ${INSTALL_COMMAND} adds it`;
  }
  const missing = missingArguments(entry.runtimeArgs ?? []);
  if (missing.length === 0) return null;
  return `the engine's runtime \`${CHECKPOINT_RUNTIME_NAME}\` runs without ${missing.join(" ")}: ${INSTALL_COMMAND}`;
}

/** The host's copy of the profile; null when there is none that can be read. */
export function installedProfile(): string | null {
  try {
    return readFileSync(INSTALLED_SECCOMP_PROFILE, "utf8");
  } catch {
    return null;
  }
}

/** A profile that differs from the shipped one is refused, whether it allows more or less. */
export function profileProblem(installed: string | null): IsolationProblem | null {
  if (installed === null) {
    return {
      id: "no-profile",
      message: `The seccomp profile ${INSTALLED_SECCOMP_PROFILE} is missing.`,
      remedy: INSTALL_COMMAND,
    };
  }
  const hash = sha256(installed);
  if (hash === SHIPPED_SECCOMP_SHA256) return null;
  return {
    id: "changed-profile",
    message:
      `The seccomp profile ${INSTALLED_SECCOMP_PROFILE} has sha256 ${hash.slice(0, 12)}…, ` +
      `the shipped one ${SHIPPED_SECCOMP_SHA256.slice(0, 12)}….`,
    remedy: INSTALL_COMMAND,
  };
}

function missingArguments(present: readonly string[]): string[] {
  const flags = new Map(present.map(parseFlag));
  const tolerated = new Map(runtime.tolerated.map(parseFlag));
  return RUNTIME_ARGUMENTS.filter((argument) => {
    const [name, value] = parseFlag(argument);
    const actual = flags.get(name);
    if (actual === undefined) return runtime.essential.includes(argument);
    return actual !== value && actual !== tolerated.get(name);
  });
}

/** One or two dashes, and a bare flag is `true`: as Go reads them. */
function parseFlag(argument: string): [string, string] {
  const [name = "", ...rest] = argument.replace(/^--?/, "").split("=");
  return [name, rest.length === 0 ? "true" : rest.join("=")];
}
