/** What a runbook tells its reader to type, typed on a host of a test. */
import { execFile } from "node:child_process";
import { ROOT } from "../../support/documents.ts";
import type { Stack } from "../../support/stack.ts";

const ANSWERS_WITHIN_MS = 120_000;

export interface Typed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** As written, but for what the runbooks tell to replace: ports, data directory and key. */
export function asWritten(command: string, stack: Stack, metrics: string): string {
  return command
    .replaceAll("127.0.0.1:3113", metrics)
    .replaceAll("http://127.0.0.1:3112", stack.baseUrl)
    .replaceAll("/var/lib/kernelyard", stack.dataDir)
    .replaceAll("KEY", stack.apiKey);
}

/** `env`: of the reader's shell, beside this process's. */
export async function typed(command: string, env: Readonly<Record<string, string>> = {}): Promise<Typed> {
  const options = { cwd: ROOT, env: { ...process.env, ...env }, timeout: ANSWERS_WITHIN_MS };
  return new Promise((resolve) => {
    execFile("bash", ["-e", "-o", "pipefail", "-c", command], options, (error, stdout, stderr) => {
      resolve({
        code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1,
        stdout,
        stderr,
      });
    });
  });
}
