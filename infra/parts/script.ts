/** Shell scripts that travel as text: files that a linter reads, given what they ask for. Reads files, runs nothing. */
import { readFileSync } from "node:fs";
import { quote } from "./quote.ts";

/** A file without what only its linter reads. */
export const textOf = (path: string): string =>
  readFileSync(path, "utf8").replace(/^# shellcheck .*\n/gm, "");

/** For `sh -c`: the script's variables, then the script. Without comments: a reworded one must not run it again. */
export function script(path: string, values: Readonly<Record<string, string>>): string {
  const variables = Object.entries(values).map(([name, value]) => `${name}=${quote(value)}\n`);
  return `${variables.join("")}${readFileSync(path, "utf8").replace(/^ *#.*\n/gm, "")}`;
}
