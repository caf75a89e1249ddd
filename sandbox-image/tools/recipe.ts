/** How the sandbox image is built. Reads files, runs nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ImageRecipe } from "./image-build.ts";
import {
  BASE_ID_LABEL,
  BASE_LABEL,
  CONTENT_LABEL,
  contentDigest,
  contextFiles,
  MACHINE_FOLDER,
  ROOM,
  SANDBOX_DOCKERFILE,
} from "./plan.ts";

/** A profile with a Dockerfile of its own adds to the default image. */
export const ownDockerfile = (profile: string, room = ROOM): string | null => {
  const file = join("profiles", profile, "Dockerfile");
  return existsSync(join(room, file)) ? file : null;
};

export interface Base {
  /** As a person would name it. */
  readonly name: string;
  readonly id: string;
}

/** The image of a profile from the files in `room`. */
export const sandboxRecipe = (
  profile: string,
  base: Base,
  labels: Readonly<Record<string, string>>,
  room = ROOM,
): ImageRecipe => ({
  name: "the sandbox image",
  folder: room,
  files: contextFiles(profile, room),
  dockerfile: ownDockerfile(profile, room) ?? SANDBOX_DOCKERFILE,
  machineFolder: MACHINE_FOLDER,
  arguments: { BASE_IMAGE: base.name, PROFILE: profile },
  labels: {
    [CONTENT_LABEL]: contentDigest(profile, room),
    [BASE_LABEL]: base.name,
    [BASE_ID_LABEL]: base.id,
    ...labels,
  },
});
