/** What goes into the sandbox image, and the digests that name it and what proves it. Reads files, runs nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { filesDigest, keptFiles, listedFiles, parsePatterns } from "./build-context.ts";

export const ROOM = join(import.meta.dirname, "..");
export const IMAGE_TAG = "custom-rce-kernel:latest";
/** Relative to the room, which is the context. */
export const SANDBOX_DOCKERFILE = "Dockerfile.rce";
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

/**
 * The files that ship: what `.dockerignore` lets through, without other profiles' and without what the building machine
 * adds. Sorted. `room` may be an operator's own folder; without a list of its own all of it ships.
 */
export function contextFiles(profile: string, room = ROOM): readonly string[] {
  const folder = `profiles/${profile}/`;
  const files = listedFiles(room, join(room, ".dockerignore")).filter(
    (file) =>
      !file.startsWith(`${MACHINE_FOLDER}/`) && (!file.startsWith("profiles/") || file.startsWith(folder)),
  );
  if (existsSync(join(room, "profiles")) && !files.some((file) => file.startsWith(folder))) {
    throw new Error(`The sandbox image has no profile \`${profile}\`: there is no ${join(room, folder)}.`);
  }
  return files;
}

/** Digest of what ships: names and contents. */
export const contentDigest = (profile: string, room = ROOM): string =>
  filesDigest(room, contextFiles(profile, room), [`profile ${profile}`]);

/** Digest of what proves an image: a change proves it again, and builds nothing. */
export function verificationDigest(room = ROOM): string {
  const folder = join(room, "tools/verify");
  return filesDigest(folder, keptFiles(folder, parsePatterns("**/__pycache__\n**/.*")));
}

/** Words of a list file: one entry a line, `#` starts a comment. */
export const listEntries = (text: string): readonly string[] =>
  text
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");

/** Distribution names of a requirements list, without versions, extras and markers. */
export function distributionNames(requirements: string): readonly string[] {
  return listEntries(requirements).map((line) => {
    const name = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/.exec(line)?.[0];
    if (name === undefined) {
      throw new Error(
        `rce_requirements.txt: \`${line}\` does not name a package; write one package per line.`,
      );
    }
    return name;
  });
}
