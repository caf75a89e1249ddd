/**
 * The files of an image's build: what the list beside its Dockerfile (`.dockerignore`) lets through, read as the builder
 * reads it. One list for each image: what it leaves out cannot be copied, and what it lets through is in the digest.
 * Reads files, runs nothing.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Pattern {
  readonly text: string;
  readonly matches: RegExp;
  readonly keep: boolean;
}

/** `*`, `?` and `[…]` stay within a folder, `**` crosses folders. */
function expression(glob: string): RegExp {
  const source = glob.replace(/\*\*\/|\*\*|\*|\?|\[[^\]]*\]|[^\w/]/g, (part) => {
    switch (part) {
      case "**/":
        return "(?:.*/)?";
      case "**":
        return ".*";
      case "*":
        return "[^/]*";
      case "?":
        return "[^/]";
      default:
        return part.startsWith("[") && part.length > 1 ? part : `\\${part}`;
    }
  });
  return new RegExp(`^${source}$`, "s");
}

export const parsePatterns = (list: string): readonly Pattern[] =>
  list
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => {
      const text = line
        .replace(/^!/, "")
        .trim()
        .replace(/^\/+|\/+$/g, "");
      return { text, matches: expression(text), keep: line.startsWith("!") };
    });

/** The last pattern that matches the path or a folder above it decides. */
export function isLeftOut(path: string, patterns: readonly Pattern[]): boolean {
  const parts = path.split("/");
  const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
  return patterns.reduce(
    (out, { matches, keep }) => (prefixes.some((prefix) => matches.test(prefix)) ? !keep : out),
    false,
  );
}

function* walk(root: string, folder: string, patterns: readonly Pattern[]): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      // Something below may be let in again.
      const deeper = patterns.some((pattern) => pattern.keep && pattern.text.startsWith(`${path}/`));
      if (deeper || !isLeftOut(path, patterns)) yield* walk(root, path, patterns);
    } else if (entry.isFile() && !isLeftOut(path, patterns)) {
      yield path;
    }
  }
}

/** Relative and sorted. */
export const keptFiles = (folder: string, patterns: readonly Pattern[]): readonly string[] =>
  [...walk(folder, "", patterns)].sort();

/**
 * Files of the folder that `list` (a file; absent: no list) lets through. Throws when the list asks by name for
 * something that is not there: an image without it would fail later, or be another one.
 */
export function listedFiles(folder: string, list: string): readonly string[] {
  const patterns = existsSync(list) ? parsePatterns(readFileSync(list, "utf8")) : [];
  for (const { text, keep } of patterns) {
    if (!keep || /[*?[]/.test(text) || existsSync(join(folder, text))) continue;
    throw new Error(`${list} asks for \`${text}\`, which is not in ${folder}.`);
  }
  return keptFiles(folder, patterns);
}

/** Hexadecimal SHA-256 over words, names and contents. */
export function filesDigest(folder: string, files: readonly string[], words: readonly string[] = []): string {
  const hash = createHash("sha256").update(`${words.join("\n")}\n`);
  for (const file of files) {
    const content = readFileSync(join(folder, file));
    hash.update(`${file}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}
