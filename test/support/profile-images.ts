/** The images of the profiles that tests use: the project's, or those of a checkout whose image has a tag of its own. */
import { imageOf } from "../../gateway/common/profiles.ts";

export function testImageOf(profile: string): string {
  const own = process.env.KERNELYARD_IMAGE;
  if (own === undefined) return imageOf(profile);
  return profile === "default" ? own : `${own}-${profile}`;
}
