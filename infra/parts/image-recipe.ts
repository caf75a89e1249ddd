/** How each of the stack's images is built. Reads files, runs nothing; paths are relative to the project. */
import { existsSync } from "node:fs";
import { DEFAULT_PROFILE } from "../../gateway/common/profiles.ts";
import type { ImageRecipe } from "../../sandbox-image/tools/image-build.ts";
import { BASE_ID_LABEL, BASE_LABEL, CONTENT_LABEL } from "../../sandbox-image/tools/plan.ts";
import { librariesOf, requirementsOf } from "../../sandbox-image/tools/profiles.ts";
import { type Base, sandboxRecipe } from "../../sandbox-image/tools/recipe.ts";
import type { ImageOrder } from "./image-order.ts";
import {
  isPackageImage,
  PACKAGE_FOLDERS,
  packageFiles,
  SERVICE_DOCKERFILE,
  SERVICE_MACHINE_FOLDER,
  serviceFiles,
} from "./tags.ts";

export const repositoryOf = (name: string): string => name.replace(/:[^:/]+$/, "");
const tagOf = (name: string) => name.slice(repositoryOf(name).length + 1);

/** What the sandbox image's lists have, for those who prove it. A folder without a list is built as it is. */
export const sandboxLibraries = (folder: string, profile: string): readonly string[] =>
  existsSync(requirementsOf(profile, folder)) ? librariesOf(profile, folder) : [];

export function recipeOf(
  order: Pick<ImageOrder, "image" | "folder" | "profile" | "name" | "platform" | "gvisorUrl">,
  base: Base,
  project = ".",
): ImageRecipe {
  const { platform } = order;
  if (order.image === "sandbox") {
    return { ...sandboxRecipe(order.profile ?? DEFAULT_PROFILE, base, {}, order.folder), platform };
  }
  const labels = {
    [CONTENT_LABEL]: tagOf(order.name),
    [BASE_LABEL]: base.name,
    [BASE_ID_LABEL]: base.id,
  };
  const BASE_IMAGE = base.name;
  if (isPackageImage(order.image)) {
    return {
      name: `the image of the ${order.image}`,
      folder: `${project}/${PACKAGE_FOLDERS[order.image]}`,
      files: packageFiles(project, order.image),
      dockerfile: "Dockerfile",
      machineFolder: null,
      arguments: { BASE_IMAGE },
      labels,
      platform,
    };
  }
  return {
    name: "the image of gateway and launcher",
    folder: project,
    files: serviceFiles(project, order.image),
    dockerfile: SERVICE_DOCKERFILE,
    machineFolder: SERVICE_MACHINE_FOLDER,
    arguments: { BASE_IMAGE, ...(order.gvisorUrl === undefined ? {} : { GVISOR_URL: order.gvisorUrl }) },
    labels,
    target: order.image,
    platform,
  };
}
