/**
 * Whether session volumes of a data directory have a hard size: decided once, and written down. A disk that is full or
 * a host that is slow for a moment decides nothing: sessions would find an empty volume without a limit instead of theirs.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { newId } from "../engine/labels.ts";

/** `loop`: an image of fixed size behind a loop device. `none`: a plain Docker volume. */
export type QuotaMode = "loop" | "none";

const Decision = z.enum(["loop", "none"]);

const pathIn = (directory: string) => join(directory, "quota-mode");

/** Null: not decided yet. Throws when somebody wrote what is no decision. */
export async function readQuotaMode(directory: string): Promise<QuotaMode | null> {
  const path = pathIn(directory);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
  const read = Decision.safeParse(text.trim());
  if (read.success) return read.data;
  throw new Error(`${path} must say loop or none; it says ${JSON.stringify(text.slice(0, 32))}`);
}

export async function writeQuotaMode(directory: string, mode: QuotaMode): Promise<void> {
  const temporary = `${pathIn(directory)}.${newId()}.tmp`;
  await writeFile(temporary, `${mode}\n`, { mode: 0o600 });
  await rename(temporary, pathIn(directory));
}

/** True for what this host does not allow or does not have, and will not in a minute. */
export function isForGood(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("code" in error && (error.code === "ENOENT" || error.code === "EACCES" || error.code === "EPERM"))
    return true;
  return /operation not permitted|permission denied/i.test(error.message);
}
