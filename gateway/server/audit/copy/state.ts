/** What a copy of the audit log must not forget with its process: `copy.json` beside the log's files. In no backup. */
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";

const State = z.strictObject({
  /** Where this directory's files are in the bucket; nobody else writes there. */
  folder: z.string().regex(/^[A-Za-z0-9._-]{1,120}$/),
  /** Files were rewritten, or are about to be: the bucket's may be of the same length and not the same. */
  rewritten: z.boolean(),
});
export type CopyState = z.infer<typeof State>;

const NAME = "copy.json";

/** Null: there is none yet. Rejects when there is something else. */
export async function readState(directory: string): Promise<CopyState | null> {
  const path = join(directory, NAME);
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return null;
  try {
    return State.parse(JSON.parse(text));
  } catch {
    throw new Error(`${path} is none of this service's; remove it, and the copy begins a new folder`);
  }
}

/** On the disk when it resolves. */
export async function writeState(directory: string, state: CopyState): Promise<void> {
  const path = join(directory, NAME);
  const handle = await open(`${path}.new`, "w", 0o600);
  try {
    await handle.writeFile(JSON.stringify(state));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
  const folder = await open(directory, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
