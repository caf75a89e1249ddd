/** How the sandbox image is built. Reads files, runs nothing. */

import { DEFAULT_PROFILE } from "../../gateway/common/profiles.ts";
import type { ImageRecipe } from "./image-build.ts";
import {
  BASE_ID_LABEL,
  BASE_LABEL,
  CONTENT_LABEL,
  contentDigest,
  contextFiles,
  MACHINE_FOLDER,
  PROFILE_DOCKERFILE,
  SANDBOX_DOCKERFILE,
} from "./plan.ts";
import { parentOf } from "./profiles.ts";
import { ROOM } from "./room.ts";

export interface Base {
  /** As a person would name it. */
  readonly name: string;
  readonly id: string;
}

/** The image of a profile from the files in `room`. `base`: Python's, or the image of the profile that it adds to. */
export const sandboxRecipe = (
  profile: string,
  base: Base,
  labels: Readonly<Record<string, string>>,
  room = ROOM,
): ImageRecipe => ({
  name: profile === DEFAULT_PROFILE ? "the sandbox image" : `the sandbox image's profile ${profile}`,
  folder: room,
  files: contextFiles(profile, room),
  dockerfile: parentOf(profile, room) === null ? SANDBOX_DOCKERFILE : PROFILE_DOCKERFILE,
  machineFolder: MACHINE_FOLDER,
  arguments: { BASE_IMAGE: base.name, PROFILE: profile },
  labels: {
    [CONTENT_LABEL]: contentDigest(profile, room),
    [BASE_LABEL]: base.name,
    [BASE_ID_LABEL]: base.id,
    ...labels,
  },
});
