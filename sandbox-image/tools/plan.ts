/** What goes into the sandbox image, and the digests that name it and what proves it. Reads files, runs nothing. */
import { join } from "node:path";
import { DEFAULT_PROFILE, imageOf } from "../../gateway/common/profiles.ts";
import { filesDigest, keptFiles, listedFiles, parsePatterns } from "./build-context.ts";
import { parentOf } from "./profiles.ts";
import { ROOM } from "./room.ts";

export const IMAGE_TAG = imageOf(DEFAULT_PROFILE);
/** Relative to the room, which is the context. */
export const SANDBOX_DOCKERFILE = "Dockerfile.rce";
/** For every profile that adds to another one. */
export const PROFILE_DOCKERFILE = "profiles/Dockerfile";
export const DEFAULT_BASE = "python:3.11-slim";

/** Digest of everything the image was made from; the same digest means there is nothing to build. */
export const CONTENT_LABEL = "kernelyard.content";
/** The tag an image was built for; untagged ones of the same tag are its predecessors. */
export const TAG_LABEL = "kernelyard.tag";
/** The base that was used, as a person would name it. */
export const BASE_LABEL = "kernelyard.base";

/** The image that the base's name meant then: names move. */
export const BASE_ID_LABEL = "kernelyard.base-id";

/** Where the recipe looks for what the building machine adds. */
export const MACHINE_FOLDER = "build-machine";

/** What an image says of other profiles is made of these. */
const LISTED_ELSEWHERE = /^profiles\/[^/]+\/(requirements\.txt|profile\.json)$/;

/**
 * The files that ship: what `.dockerignore` lets through, without other profiles' (but for their lists: who misses a library
 * is told who has it) and without what the building machine adds; of a profile that adds to another one, its own. Sorted.
 * `room` may be an operator's own folder; without a list of its own all of it ships.
 */
export function contextFiles(profile: string, room = ROOM): readonly string[] {
  const folder = `profiles/${profile}/`;
  const adds = parentOf(profile, room) !== null;
  return listedFiles(room, join(room, ".dockerignore")).filter((file) => {
    if (adds) return file === PROFILE_DOCKERFILE || file.startsWith(folder);
    if (file.startsWith(`${MACHINE_FOLDER}/`)) return false;
    return !file.startsWith("profiles/") || file.startsWith(folder) || LISTED_ELSEWHERE.test(file);
  });
}

/** Digest of what ships, names and contents, and of what it stands on. */
export function contentDigest(profile: string, room = ROOM): string {
  const below = parentOf(profile, room);
  const on = below === null ? [] : [`on ${contentDigest(below, room)}`];
  return filesDigest(room, contextFiles(profile, room), [`profile ${profile}`, ...on]);
}

/** Digest of what proves an image: a change proves it again, and builds nothing. */
export function verificationDigest(room = ROOM): string {
  const folder = join(room, "tools/verify");
  return filesDigest(folder, keptFiles(folder, parsePatterns("**/__pycache__\n**/.*")));
}
