/** Commands of a run, one after another or side by side, each with its title and its time. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = join(import.meta.dirname, "../..");

export interface Stage {
  readonly title: string;
  readonly command: readonly [program: string, ...args: string[]];
}

/**
 * How a stage's words reach the terminal: as they come; each line behind a mark, when others speak at the same time; or
 * all at its end, when they belong together.
 */
export type Speech = "at once" | { readonly mark: string } | "at the end";

/** Resolves to whether it succeeded. */
export function runStage({ title, command }: Stage, speech: Speech = "at once"): Promise<boolean> {
  const [program, ...args] = command;
  const started = Date.now();
  const kept: string[] = [];
  const write = (line: string) => process.stdout.write(`${line}\n`);
  const say = (line: string) => {
    if (speech === "at the end") kept.push(line);
    else write(typeof speech === "object" ? `${speech.mark} │ ${line}` : line);
  };
  if (speech !== "at the end") say(speech === "at once" ? `\n── ${title}` : `── ${title}`);
  return new Promise((resolve) => {
    const output = speech === "at once" ? "inherit" : "pipe";
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env.PATH}` },
      stdio: ["ignore", output, output],
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on("line", say);
    }
    const end = (ok: boolean) => {
      say(`── ${title}: ${ok ? "ok" : "FAILED"} (${Math.round((Date.now() - started) / 1000)} s)`);
      if (speech === "at the end") write(`\n${kept.join("\n")}`);
      resolve(ok);
    };
    child.on("error", (error) => {
      say(`${program}: ${error.message}`);
      end(false);
    });
    child.on("close", (code) => {
      if (child.pid !== undefined) end(code === 0);
    });
  });
}
