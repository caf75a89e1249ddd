/** A build context as BuildKit takes it, for the classic builder: only the files that the list lets through. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { listedFiles } from "../../../sandbox-image/tools/build-context.ts";

export interface StagedContext {
  readonly folder: string;
  remove(): void;
}

export function stagedContext(context: string, dockerfile: string): StagedContext {
  // BuildKit prefers the Dockerfile's own list; the classic builder does not know it.
  const own = `${dockerfile}.dockerignore`;
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-context-"));
  for (const path of listedFiles(context, existsSync(own) ? own : join(context, ".dockerignore"))) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(context, path), target);
  }
  copyFileSync(dockerfile, join(folder, "Dockerfile.staged"));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
