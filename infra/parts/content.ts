/** A digest over files, so that a build runs again, under a new tag, exactly when one of them changed. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";

const IGNORED = /(^|\/)(__pycache__|node_modules|\.[^/]*)(\/|$)|\.pyc$/;

function filesIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !IGNORED.test(relative(path, file)));
}

/** 16 hexadecimal digits over names, contents and the given words. */
export function contentDigest(root: string, paths: readonly string[], words: readonly string[] = []): string {
  const hash = createHash("sha256").update(`${words.join("\n")}\n`);
  for (const file of paths.flatMap((path) => filesIn(join(root, path))).sort()) {
    const content = readFileSync(file);
    hash.update(`${relative(root, file)}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex").slice(0, 16);
}

export const folderDigest = (folder: string): string => contentDigest(folder, ["."]);
