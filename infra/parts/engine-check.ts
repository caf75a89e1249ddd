/** Whether an engine can run sandboxes: what is missing, with the command that installs it. */
import { spawn } from "node:child_process";
import { request } from "node:http";
import { z } from "zod";
import {
  INSTALL_COMMAND,
  INSTALLED_SECCOMP_PROFILE,
  installedProfile,
  isolationProblems,
  SHIPPED_SECCOMP_PROFILE,
} from "../../gateway/host/isolation.ts";
import type { HostConfig } from "../config/values.ts";
import type { Machine } from "./machine.ts";
import { quote } from "./quote.ts";

const ANSWER_WITHIN_MS = 10_000;
const SSH_WITHIN_MS = 45_000;
const LONGEST_ANSWER = 4 * 1024 * 1024;

const EngineInfo = z.object({
  Runtimes: z
    .record(z.string(), z.object({ runtimeArgs: z.array(z.string()).nullish() }))
    .nullish()
    .transform((runtimes) => runtimes ?? {}),
});
export type EngineInfo = z.infer<typeof EngineInfo>;

/** The launcher's container carries the profile itself; only a host's copy that differs is a problem. */
function problemsOf(info: EngineInfo, installedProfile: string | null): string[] {
  return isolationProblems({
    runtimes: info.Runtimes,
    installedProfile: installedProfile ?? SHIPPED_SECCOMP_PROFILE,
  }).map((problem) => `${problem.message} Remedy: ${problem.remedy}`);
}

function engineInfo(socketPath: string): Promise<EngineInfo> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path: "/info", timeout: ANSWER_WITHIN_MS }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        body += chunk;
        if (body.length > LONGEST_ANSWER) response.destroy(new Error("the answer is too long"));
      });
      response.on("error", reject);
      response.on("end", () => {
        const parsed = EngineInfo.safeParse(JSON.parse(body));
        if (parsed.success) resolve(parsed.data);
        else reject(new Error(`the engine answers /info with status ${response.statusCode}`));
      });
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS / 1000} s`)));
    call.on("error", reject);
    call.end();
  });
}

/** Problems of the engine behind a unix socket; empty when it can serve. */
export async function localProblems(
  dockerHost: string,
  isolation: "runsc" | "runc-unsafe",
): Promise<string[]> {
  const socket = dockerHost.replace(/^unix:\/\//, "");
  try {
    const info = await engineInfo(socket);
    return isolation === "runc-unsafe" ? [] : problemsOf(info, installedProfile());
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [`No engine answers at ${socket} (${reason}). Remedy: start it, or ${INSTALL_COMMAND}`];
  }
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

/** ssh's own failures, as opposed to the far command's. */
const SSH_FAILED = 255;

/**
 * What differs on a machine from what `gateway/host` makes of it, as one line; null when nothing does. Throws when the
 * machine cannot be asked: its address, key or host key is wrong, and nothing would work.
 */
export async function machineDrift(host: HostConfig, machine: Machine): Promise<string | null> {
  const profile = quote(INSTALLED_SECCOMP_PROFILE);
  const answer = await shell(
    machine.run(`docker info --format '{{json .Runtimes}}' && { cat ${profile} 2>/dev/null || true; }`),
  );
  if (answer.code === SSH_FAILED || answer.code === null) {
    throw new Error(
      `${host.name} (${host.user}@${host.address}:${host.port}) cannot be reached by ssh: ${answer.stderr || "no answer"}\n` +
        "Check kernelyard:hosts (address, port, user, hostKey) and kernelyard:sshKeyFile.",
    );
  }
  const found = (what: string) => `${new Date().toISOString()}: ${what}`;
  if (answer.code !== 0) return found("the engine does not answer");
  const [runtimes = "{}"] = answer.stdout.split("\n", 1);
  const profileText = answer.stdout.slice(runtimes.length + 1);
  const info = EngineInfo.safeParse({ Runtimes: parseJson(runtimes) });
  if (!info.success) return found("the engine's answer cannot be read");
  // A prepared machine has the profile's copy: without one, somebody took it away.
  const problems = problemsOf(info.data, profileText);
  return problems.length === 0 ? null : found(problems.join(" "));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
