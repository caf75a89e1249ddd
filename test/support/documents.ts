/** The project's files, and its documents as text that tests hold to the truth. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
const NOT_OURS = new Set(["node_modules", ".git", ".venv", "results"]);

/** Every file of ours below the folder, relative to it. */
export function filesBelow(folder = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isFile()) return [entry.name];
    if (!entry.isDirectory() || NOT_OURS.has(entry.name)) return [];
    return filesBelow(join(folder, entry.name)).map((path) => join(entry.name, path));
  });
}

export const readDocument = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** The text of its ```sh blocks, in order. */
export function shellBlocks(path: string): string[] {
  return [...readDocument(path).matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block]) => block ?? "");
}

/** The one ```sh block that holds these words. */
export function shellBlock(path: string, words: string): string {
  const [block, ...others] = shellBlocks(path).filter((text) => text.includes(words));
  if (block === undefined || others.length > 0) {
    throw new Error(`${path} has ${block === undefined ? "no block" : "several blocks"} with: ${words}`);
  }
  return block;
}
