/** A look at the machines of a stack before an update: what has drifted, and what the operator's own ssh cannot do. */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { INSTALLED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import type { HostConfig } from "../../config/values.ts";
import { EngineInfo, problemsOf } from "../../parts/engine-check.ts";
import type { SshMachine } from "../../parts/machine.ts";
import { script } from "../../parts/script.ts";

const LOOK = join(import.meta.dirname, "look.sh");
const SSH_WITHIN_MS = 45_000;
const LONGEST_ANSWER = 4 * 1024 * 1024;
/** The first that has KnownHostsCommand. */
const OLDEST_SSH = [8, 5] as const;

export interface MachineLook {
  /** What differs from what `gateway/host` makes of a machine, as one line with its moment; null: nothing. */
  readonly drift: string | null;
  /** As `uname -m` says it. */
  readonly architecture: string;
  /** A certificate of the stack is there, and ends within thirty days. */
  readonly certificateEnds: boolean;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function shell(line: string): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn("sh", ["-c", line], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    const timer = setTimeout(() => child.kill("SIGKILL"), SSH_WITHIN_MS);
    child.stdout.on("data", (chunk: Buffer) => {
      stdout = (stdout + chunk.toString()).slice(-LONGEST_ANSWER);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4096);
    });
    child.on("error", (error) => {
      stderr += error.message;
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr: stderr.trim() });
    });
  });
}

/** Why the operator's own `ssh` will not do; null: it will. */
export async function sshProblem(home: string): Promise<string | null> {
  const said = await shell("ssh -V");
  const version = /OpenSSH\D*(\d+)\.(\d+)/.exec(said.stderr + said.stdout);
  const [, major = "0", minor = "0"] = version ?? [];
  const number = Number(major) * 1000 + Number(minor);
  if (number < OLDEST_SSH[0] * 1000 + OLDEST_SSH[1]) {
    const found = version === null ? "no OpenSSH client is on PATH" : `OpenSSH here is ${major}.${minor}`;
    return (
      `${found}, and connections are held to the configured host keys by KnownHostsCommand, which ` +
      `${OLDEST_SSH.join(".")} has first. Remedy: run pulumi where OpenSSH is newer (Debian 12, Ubuntu 22.04, macOS 13).`
    );
  }
  // Connections that commands share have their sockets there.
  mkdirSync(join(home, ".ssh"), { recursive: true, mode: 0o700 });
  return null;
}

/**
 * Throws when the machine cannot be asked: its address, key or host key is wrong, and nothing would work. `certificates`: files
 * of servers that the machine may carry.
 */
export async function lookAtMachine(
  host: HostConfig,
  machine: SshMachine,
  certificates: readonly string[],
): Promise<MachineLook> {
  const values = { PROFILE: INSTALLED_SECCOMP_PROFILE, CERTIFICATES: certificates.join(" ") };
  const answer = await shell(machine.look(script(LOOK, values)));
  if (answer.code !== 0) {
    throw new Error(
      `${host.name} (${host.user}@${host.address}:${host.port}) cannot be reached by ssh: ${answer.stderr || "no answer"}\n` +
        "Check kernelyard:hosts (address, port, user, hostKey) and kernelyard:sshKeyFile.",
    );
  }
  const [architecture = "", validity = "", runtimes = "", ...profile] = answer.stdout.split("\n");
  const found = driftOf(runtimes, profile.join("\n"));
  return {
    drift: found === null ? null : `${new Date().toISOString()}: ${found}`,
    architecture,
    certificateEnds: validity === "ends",
  };
}

function driftOf(runtimes: string, profile: string): string | null {
  if (runtimes === "") return "the engine does not answer the user who deploys";
  const info = EngineInfo.safeParse({ Runtimes: parseJson(runtimes) });
  if (!info.success) return "the engine's answer cannot be read";
  // A prepared machine has the profile's copy: without one, somebody took it away.
  const problems = problemsOf(info.data, profile);
  return problems.length === 0 ? null : problems.join(" ");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Why these machines cannot serve one stack; null: they can. Images are built on the first and run on all. */
export function mixedArchitectures(looks: ReadonlyMap<string, MachineLook>): string | null {
  const kinds = new Set([...looks.values()].map((look) => look.architecture));
  if (kinds.size <= 1) return null;
  const list = [...looks].map(([name, look]) => `${name} ${look.architecture}`).join(", ");
  return (
    `kernelyard:hosts has machines of different CPUs (${list}), and a stack's images are built on the first for all. ` +
    "Remedy: one stack for each kind of machine."
  );
}
