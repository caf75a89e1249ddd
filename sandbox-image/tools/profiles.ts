/** The image's profiles: each a folder of lists, most on another one. Reads files, runs nothing. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { DEFAULT_PROFILE, ProfileName } from "../../gateway/common/profiles.ts";
import { distributionNames } from "./lists.ts";
import { ROOM } from "./room.ts";

const Description = z.strictObject({
  /** The profile whose image it adds to. */
  from: ProfileName,
});

export const profileNames = (room = ROOM): readonly string[] =>
  existsSync(join(room, "profiles"))
    ? readdirSync(join(room, "profiles"), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort()
    : [DEFAULT_PROFILE];

/** The profile that this one adds to; null: it is the lowest (`Dockerfile.rce`, `rce_requirements.txt`). Throws when there is no such profile. */
export function parentOf(profile: string, room = ROOM): string | null {
  if (profile === DEFAULT_PROFILE) return null;
  const names = profileNames(room);
  if (!names.includes(profile)) {
    throw new Error(`The sandbox image has no profile \`${profile}\`; there are: ${names.join(", ")}.`);
  }
  const file = join(room, "profiles", profile, "profile.json");
  try {
    return Description.parse(JSON.parse(readFileSync(file, "utf8"))).from;
  } catch (error) {
    throw new Error(`${file} must say which profile it adds to, as { "from": "default" }.`, { cause: error });
  }
}

/** From the lowest to the profile itself. */
export function profileChain(profile: string, room = ROOM): readonly string[] {
  const chain = [profile];
  for (let below = parentOf(profile, room); below !== null; below = parentOf(below, room)) {
    if (chain.includes(below)) {
      throw new Error(`The profiles ${chain.join(", ")} stand on each other: see their profile.json.`);
    }
    chain.unshift(below);
  }
  return chain;
}

/** The list of what a profile adds; an operator edits it. */
export const requirementsOf = (profile: string, room = ROOM): string =>
  profile === DEFAULT_PROFILE
    ? join(room, "rce_requirements.txt")
    : join(room, "profiles", profile, "requirements.txt");

/** Distributions that an image of the profile has, by its lists. */
export const librariesOf = (profile: string, room = ROOM): readonly string[] => [
  ...new Set(
    profileChain(profile, room).flatMap((each) => {
      const list = requirementsOf(each, room);
      return distributionNames(readFileSync(list, "utf8"), list);
    }),
  ),
];

/** A profile's own file, or that of the nearest profile below: what its image has under this name. */
export function profileFile(profile: string, name: string, room = ROOM): string {
  const path = (owner: string) => join(room, "profiles", owner, name);
  const owner = profileChain(profile, room).findLast((each) => existsSync(path(each)));
  if (owner === undefined) throw new Error(`Profile ${profile} has no ${name}, nor has one below it.`);
  return path(owner);
}
