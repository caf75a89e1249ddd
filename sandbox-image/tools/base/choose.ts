/** Which base the image is built on: the one asked for, the usual one, or one made from Debian packages. */
import { docker, inspectImage } from "../engine.ts";
import { DEFAULT_BASE } from "../plan.ts";
import { debianBaseName, ensureDebianBase, isDebianBase } from "./debian.ts";

/** A registry that has not named the image by then counts as out of reach. */
const REACH_MS = 10_000;
const PULL_MS = 900_000;

export interface BaseSources {
  readonly hasLocally: (image: string) => Promise<boolean>;
  /** `null` when pulled, otherwise why not. */
  readonly pull: (image: string) => Promise<string | null>;
  readonly makeFromPackages: () => Promise<string>;
}

export async function chooseBase(
  sources: BaseSources,
  asked: string | undefined,
  say: (line: string) => void,
): Promise<string> {
  const wanted = asked ?? DEFAULT_BASE;
  if (await sources.hasLocally(wanted)) return wanted;
  say(`Pulling the base ${wanted}`);
  const refusal = await sources.pull(wanted);
  if (refusal === null) return wanted;
  if (asked !== undefined) throw new Error(`The base \`${asked}\` (--base) cannot be pulled: ${refusal}`);
  say(
    `${wanted} cannot be pulled (${refusal}); using a base made from Debian packages, with the same Python version`,
  );
  return sources.makeFromPackages();
}

/** Whether an image on this base need not be built again: it is the one asked for, or made as one would be made now. */
export const baseIsCurrent = (base: string | undefined, asked: string | undefined): boolean =>
  asked !== undefined ? base === asked : !isDebianBase(base) || base === debianBaseName();

/** Gives up early while nothing has been heard, and late once the download runs. */
async function pull(image: string): Promise<string | null> {
  const controller = new AbortController();
  const silence = setTimeout(() => controller.abort(), REACH_MS);
  try {
    const result = await docker(["pull", image], {
      timeoutMs: PULL_MS,
      signal: controller.signal,
      onLine: (line) => {
        if (line.includes("Pulling from")) clearTimeout(silence);
      },
    });
    if (result.code === 0) return null;
    if (controller.signal.aborted) return `no answer from the registry in ${REACH_MS / 1000} s`;
    return result.stderr.trim().split("\n").at(-1) ?? "no reason given";
  } finally {
    clearTimeout(silence);
  }
}

export const engineSources = (say: (line: string) => void): BaseSources => ({
  hasLocally: async (image) => (await inspectImage(image)) !== null,
  pull,
  makeFromPackages: () => ensureDebianBase(say),
});
