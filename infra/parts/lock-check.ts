/** The profile and the locks of the sandbox image's libraries, before anything is made of them. Reads files, runs nothing. */
import { existsSync } from "node:fs";
import { lockIsCurrent, profileLocks } from "../../sandbox-image/tools/lock.ts";
import { profileNames } from "../../sandbox-image/tools/profiles.ts";

/** What is wrong, with the command that repairs it; null: nothing. A folder without a list is built as it is. */
export function lockProblem(folder: string, profile: string): string | null {
  const profiles = profileNames(folder);
  if (!profiles.includes(profile)) {
    return `kernelyard:profile is ${profile}, and ${folder} has ${profiles.join(", ")}. Remedy: pulumi config set profile NAME with one of these, and run this again.`;
  }
  const list = profileLocks(profile, folder).find(
    (spec) => existsSync(spec.list) && !lockIsCurrent(spec),
  )?.list;
  if (list === undefined) return null;
  return `${list} has changed since its lock was made. Remedy: npm run lock, look at what it changed, and run this again.`;
}
