/** Runs a program without a shell; what it prints is kept within bounds and shown when it fails. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Kept of each output stream: the end, where programs say why they failed. */
const KEPT_CHARS = 1024 * 1024;

export interface CommandOptions {
  readonly cwd?: string;
  /** Replaces the environment; default: this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  /** Ends the program early; the result then has `code: null`. */
  readonly signal?: AbortSignal;
  /** Called for every line of either stream as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface CommandResult {
  /** `null`: ended by a signal, or could not be started. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

export type RunCommand = (
  program: string,
  args: readonly string[],
  options: CommandOptions,
) => Promise<CommandResult>;

const keepEnd = (text: string, more: string): string => (text + more).slice(-KEPT_CHARS);

/** Never rejects: a program that cannot be started is a result with its reason in `stderr`. */
export const runCommand: RunCommand = (program, args, options) =>
  new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, options.timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout = keepEnd(stdout, text);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = keepEnd(stderr, text);
    });
    const { onLine } = options;
    if (onLine !== undefined) {
      createInterface({ input: child.stdout }).on("line", onLine);
      createInterface({ input: child.stderr }).on("line", onLine);
    }
    let settled = false;
    const settle = (code: number | null) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      resolve({ code, stdout, stderr, timedOut });
    };
    child.on("error", (error) => {
      stderr = keepEnd(stderr, `${program}: ${error.message}`);
      settle(null);
    });
    child.on("close", (code) => settle(code));
  });

/** The last lines of what a failed program said, for an error message; reasons may be on either stream. */
export function lastWords(result: CommandResult, lines = 12): string {
  return [result.stdout, result.stderr]
    .map((text) => text.trim().split("\n").slice(-lines).join("\n"))
    .filter((text) => text !== "")
    .join("\n");
}

/** Runs and returns standard output, or throws with what was being done and what the program said. */
export async function mustRun(
  what: string,
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  const result = await runCommand(program, args, options);
  if (result.code === 0) return result.stdout;
  const how = result.timedOut
    ? `gave up after ${Math.round(options.timeoutMs / 1000)} s`
    : `\`${program}\` ended with ${result.code ?? "a signal, or did not start"}`;
  throw new Error(`${what} failed: ${how}.\n${lastWords(result)}`);
}
