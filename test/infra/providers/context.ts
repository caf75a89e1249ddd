/** A build context as BuildKit sees it: without what `<Dockerfile>.dockerignore` or `.dockerignore` leaves out. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, matchesGlob } from "node:path";

interface Pattern {
  readonly glob: string;
  readonly keep: boolean;
}

export function ignorePatterns(text: string): Pattern[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({
      glob: line.replace(/^!/, "").replace(/^\//, "").replace(/\/$/, ""),
      keep: line.startsWith("!"),
    }));
}

/** The last pattern that matches the path or a folder above it decides. */
export function isLeftOut(path: string, patterns: readonly Pattern[]): boolean {
  const parts = path.split("/");
  const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
  let out = false;
  for (const { glob, keep } of patterns) {
    const found = prefixes.some(
      (p) => matchesGlob(p, glob) || (glob.startsWith("**/") && matchesGlob(p, glob.slice(3))),
    );
    if (found) out = !keep;
  }
  return out;
}

function* walk(root: string, folder: string, patterns: readonly Pattern[]): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      const deeper = patterns.some((p) => p.keep && p.glob.startsWith(`${path}/`));
      if (!isLeftOut(path, patterns) || deeper) yield* walk(root, path, patterns);
    } else if (entry.isFile() && !isLeftOut(path, patterns)) {
      yield path;
    }
  }
}

export interface StagedContext {
  readonly folder: string;
  remove(): void;
}

export function stagedContext(context: string, dockerfile: string): StagedContext {
  const list = [`${dockerfile}.dockerignore`, join(context, ".dockerignore")].find((path) =>
    existsSync(path),
  );
  const patterns = list === undefined ? [] : ignorePatterns(readFileSync(list, "utf8"));
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-context-"));
  for (const path of walk(context, "", patterns)) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(context, path), target);
    // The classic builder's cache looks at names, modes and contents; git keeps no more either.
    if (!statSync(target).isFile()) throw new Error(`${path} is not a file`);
  }
  copyFileSync(dockerfile, join(folder, "Dockerfile.staged"));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
