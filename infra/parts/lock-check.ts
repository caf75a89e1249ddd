/** The lock of the sandbox image's libraries, before anything is made of it. Reads files, runs nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { lockIsCurrent } from "../../sandbox-image/tools/lock.ts";

/** What is wrong, with the command that repairs it; null: nothing. A folder without a list is built as it is. */
export function lockProblem(folder: string): string | null {
  const list = join(folder, "rce_requirements.txt");
  if (!existsSync(list) || lockIsCurrent({ list, lock: join(folder, "rce_requirements.lock") })) return null;
  return `${list} has changed since its lock was made. Remedy: npm run lock, look at what it changed, and run this again.`;
}
