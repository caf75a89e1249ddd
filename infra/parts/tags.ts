/**
 * Tags of the stack's images. Each is a digest of what that image ships and of all else that decides what it is, so that a
 * build runs again, under a new tag, exactly when some of it changed. Reads files, runs nothing.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  filesDigest,
  isLeftOut,
  listedFiles,
  parsePatterns,
} from "../../sandbox-image/tools/build-context.ts";
import { contextFiles, PROFILE_DOCKERFILE, SANDBOX_DOCKERFILE } from "../../sandbox-image/tools/plan.ts";
import { parentOf, profileChain } from "../../sandbox-image/tools/profiles.ts";

/** Relative to the project, which is the context; its list is beside it. */
export const SERVICE_DOCKERFILE = "gateway/image/Dockerfile";
/** Where that recipe looks for what the building machine adds. */
export const SERVICE_MACHINE_FOLDER = "gateway/image/build-machine";
/** Images of one package of Debian's each. Relative to the project; all of a folder is its context. */
export const PACKAGE_FOLDERS = {
  registry: "gateway/image/registry",
  valkey: "gateway/image/valkey",
  entry: "gateway/image/entry",
} as const;
export type PackageImage = keyof typeof PACKAGE_FOLDERS;
export const isPackageImage = (image: string): image is PackageImage => Object.hasOwn(PACKAGE_FOLDERS, image);

/** `host-bundle`: with gVisor and the host's files beside. */
export type ServiceTarget = "services" | "host-bundle";

/** Hexadecimal. The recipe counts, whether the list lets it into the context or not. */
function digest(folder: string, files: readonly string[], recipe: string, words: readonly string[]): string {
  const all = [...new Set([...files, recipe])].sort();
  return filesDigest(folder, all, words).slice(0, 16);
}

/** `words`: whatever else decides what the image is, such as its base. */
export const serviceTag = (projectRoot: string, target: ServiceTarget, words: readonly string[]): string =>
  digest(projectRoot, serviceFiles(projectRoot, target), SERVICE_DOCKERFILE, [target, ...words]);

/** The profiles below count: the image stands on theirs. */
export const sandboxTag = (folder: string, profile: string, words: readonly string[]): string =>
  profileChain(profile, folder).reduce<string>((below, each) => {
    const recipe = parentOf(each, folder) === null ? SANDBOX_DOCKERFILE : PROFILE_DOCKERFILE;
    return digest(folder, contextFiles(each, folder), recipe, below === "" ? words : [each, below]);
  }, "");

export function packageTag(projectRoot: string, image: PackageImage, words: readonly string[]): string {
  const folder = join(projectRoot, PACKAGE_FOLDERS[image]);
  return digest(folder, packageFiles(projectRoot, image), "Dockerfile", words);
}

export function packageFiles(projectRoot: string, image: PackageImage): readonly string[] {
  const folder = join(projectRoot, PACKAGE_FOLDERS[image]);
  return listedFiles(folder, join(folder, ".dockerignore"));
}

/** What the stages that a target is made of copy out of the context, and its list lets through. */
export function serviceFiles(projectRoot: string, target: ServiceTarget): readonly string[] {
  const sources = stageSources(readFileSync(join(projectRoot, SERVICE_DOCKERFILE), "utf8"), target);
  const copied = parsePatterns(["**", ...sources.map((source) => `!${source}`)].join("\n"));
  return listedFiles(projectRoot, join(projectRoot, `${SERVICE_DOCKERFILE}.dockerignore`)).filter(
    (file) => !file.startsWith(`${SERVICE_MACHINE_FOLDER}/`) && !isLeftOut(file, copied),
  );
}

/** Sources of `COPY` in a stage and in the stages that it stands on, without a slash at their end. */
export function stageSources(recipe: string, target: string): readonly string[] {
  const stages = new Map(
    recipe
      .split(/^FROM /m)
      .slice(1)
      .map((text) => [/^\S+ AS (\S+)/.exec(text)?.[1] ?? "", text] as const),
  );
  const sources: string[] = [];
  const seen = new Set<string>();
  const follow = (name: string): void => {
    const text = stages.get(name);
    if (text === undefined || seen.has(name)) return;
    seen.add(name);
    follow(/^\S+/.exec(text)?.[0] ?? "");
    for (const [, from = "", words = ""] of text.matchAll(/^COPY (?:--from=(\S+) )?(.+)$/gm)) {
      if (from === "")
        sources.push(
          ...words
            .split(" ")
            .slice(0, -1)
            .map((word) => word.replace(/\/$/, "")),
        );
      else follow(from);
    }
  };
  follow(target);
  return sources;
}
