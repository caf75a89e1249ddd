/**
 * Tags of the stack's images. Each is a digest of what that image ships, so that a build runs again, under a new tag,
 * exactly when some of it changed. Reads files, runs nothing.
 */
import { join } from "node:path";
import { filesDigest, listedFiles } from "../../sandbox-image/tools/build-context.ts";
import { contextFiles } from "../../sandbox-image/tools/plan.ts";

/** Relative to the project, which is the context; its list is beside it. */
export const SERVICE_DOCKERFILE = "gateway/image/Dockerfile";
/** Relative to the sandbox's folder, which is the context. */
export const SANDBOX_DOCKERFILE = "Dockerfile.rce";
/** Relative to the project; all of it is the context. */
export const REGISTRY_FOLDER = "gateway/image/registry";

/** The recipe counts, whether the list lets it into the context or not. */
function tag(folder: string, files: readonly string[], recipe: string, words: readonly string[]): string {
  const all = [...new Set([...files, recipe])].sort();
  return filesDigest(folder, all, words).slice(0, 16);
}

/** `words`: whatever else decides what the image is, such as its base. */
export const serviceTag = (projectRoot: string, words: readonly string[]): string =>
  tag(projectRoot, serviceFiles(projectRoot), SERVICE_DOCKERFILE, words);

export const sandboxTag = (folder: string, words: readonly string[]): string =>
  tag(folder, contextFiles("default", folder), SANDBOX_DOCKERFILE, words);

export function registryTag(projectRoot: string): string {
  const folder = join(projectRoot, REGISTRY_FOLDER);
  return tag(folder, listedFiles(folder, join(folder, ".dockerignore")), "Dockerfile", []);
}

/** What `gateway/image/Dockerfile` can copy. */
export const serviceFiles = (projectRoot: string): readonly string[] =>
  listedFiles(projectRoot, join(projectRoot, `${SERVICE_DOCKERFILE}.dockerignore`));
