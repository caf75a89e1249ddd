/** The project's documents, as text that tests hold to the truth. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
const NOT_OURS = new Set(["node_modules", ".git", ".venv", "results"]);

/** Every file of the project, relative to it. */
export function projectFiles(folder = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : projectFiles(path);
    return [relative(ROOT, path)];
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
