/**
 * Scripts in the style of documentation, run twice in one sandbox: as `python3 main.py` and as a fresh call. Output,
 * exit code and files are the same.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Conversation, Outcome } from "./supervised.ts";

const FOLDER = join(import.meta.dirname, "../fixtures/scripts");
const LIMIT_MS = 60_000;

export const scriptNames: readonly string[] = readdirSync(FOLDER).sort();

export interface Trace {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | string;
  readonly files: Readonly<Record<string, string>>;
}

/** What a shell says of a signal, for the one, and what a parent sees, for the other. */
const SIGNALS: Readonly<Record<string, number>> = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

function trace(outcome: Outcome): Trace {
  const { exit_code, signal } = outcome.reply;
  const files = [...outcome.files]
    .filter(([path]) => path !== "main.py")
    .map(([path, file]) => [path, file.bytes.toString("base64")] as const)
    .sort();
  const plain = (text: string) => text.replaceAll(/\b0x[0-9a-f]{6,}/g, "0x…");
  return {
    stdout: plain(outcome.stdout),
    // The shell and the supervisor each name the signal in their own words.
    stderr: plain(outcome.stderr).replaceAll(
      /^(\[sandbox\] The program ended .*|.*: line 1: .*|Terminated)\n/gm,
      "",
    ),
    exitCode: exit_code ?? 128 + (SIGNALS[signal ?? ""] ?? 0),
    files: Object.fromEntries(files),
  };
}

const clear = (sandbox: Conversation) =>
  sandbox.run("find . -mindepth 1 -delete", { language: "bash", script: true, collect: false });

/** `sandbox` has nothing in its working directory before and after. */
export async function runTwice(
  sandbox: Conversation,
  name: string,
): Promise<{ readonly script: Trace; readonly call: Trace }> {
  const code = readFileSync(join(FOLDER, name), "utf8");
  const options = { script: true, timeoutMs: LIMIT_MS };
  await sandbox.write("main.py", code);
  const script = trace(
    await sandbox.run('python3 "$PWD/main.py"', {
      ...options,
      language: "bash",
      collect: { inputs: ["main.py"] },
    }),
  );
  await clear(sandbox);
  const call = trace(await sandbox.run(code, options));
  await clear(sandbox);
  return { script, call };
}
