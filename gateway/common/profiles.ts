/** Image profiles by name: what a sandbox has. `sandbox-image/profiles/` says what each is. */
import { z } from "@hono/zod-openapi";

/** The one that stands on nothing but Python; callers for whom nothing else is set have it. */
export const DEFAULT_PROFILE = "default";

/** As part of a tag, a folder and a setting. */
export const ProfileName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, "must be a profile's name: a-z, 0-9 and -");

/** The tag under which this project builds a profile's image. */
export const imageOf = (profile: string): string =>
  `custom-rce-kernel:${profile === DEFAULT_PROFILE ? "latest" : profile}`;

export interface ProfileImage {
  readonly name: string;
  /** As the engine knows it. */
  readonly image: string;
}

export interface ProfileSettings {
  /** Whom no other is set for has this one. */
  readonly profile: string;
  readonly image: string;
  /** Beside it. */
  readonly profiles: readonly ProfileImage[] | null;
}

/** All that this host offers, that of everybody first. */
export const profileTable = ({
  profile,
  image,
  profiles,
}: ProfileSettings): readonly [ProfileImage, ...ProfileImage[]] => [
  { name: profile, image },
  ...(profiles ?? []),
];
