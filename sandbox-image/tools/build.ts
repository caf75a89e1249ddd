/**
 * Makes sure that `custom-rce-kernel:latest` is the image of the present files: builds it when something has changed,
 * proves it under gVisor, and only then moves the tag.
 *
 *   node sandbox-image/tools/build.ts [--base IMAGE] [--profile NAME] [--tag NAME] [--force]
 */
import { parseArgs } from "node:util";
import { baseIsCurrent, chooseBase, engineSources } from "./base/choose.ts";
import { docker, inspectImage, mustDocker, requireEngine } from "./engine.ts";
import { buildImage } from "./image-build.ts";
import { ensureLock, IMAGE_LOCK } from "./lock.ts";
import {
  BASE_LABEL,
  CONTENT_LABEL,
  contentDigest,
  IMAGE_TAG,
  TAG_LABEL,
  verificationDigest,
} from "./plan.ts";
import { isProven, type Proof, recordProof } from "./proof.ts";
import { ownDockerfile, sandboxRecipe } from "./recipe.ts";
import { thisMachine } from "./this-machine.ts";
import { requireIsolation, verifyImage, verifyOptions } from "./verify/verify.ts";

export interface BuildOptions {
  readonly profile: string;
  /** Default: `custom-rce-kernel:latest`, and for another profile its name in place of `latest`. */
  readonly tag?: string | undefined;
  /** Default: the usual base, or one made from Debian packages where no registry can be reached. */
  readonly base?: string | undefined;
  /** Builds and verifies although nothing has changed. */
  readonly force?: boolean | undefined;
  readonly say: (line: string) => void;
}

export interface BuiltImage {
  readonly id: string;
  readonly built: boolean;
}

/** Untagged images of earlier builds, but for the one just replaced: a running launcher may still start sandboxes of it. */
async function removeOldImages(tag: string, keep: readonly string[]): Promise<void> {
  const listed = await docker([
    ...["image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true"],
    ...["--filter", `label=${TAG_LABEL}=${tag}`],
  ]);
  const old = [...new Set(listed.stdout.split("\n").filter((id) => id !== "" && !keep.includes(id)))];
  // One that a container still uses is refused by the engine, and goes next time.
  for (const id of old) await docker(["image", "rm", id]);
}

export const defaultTag = (profile: string): string =>
  profile === "default" ? IMAGE_TAG : IMAGE_TAG.replace(/:.*/, `:${profile}`);

async function baseFor(options: BuildOptions): Promise<string> {
  const { say } = options;
  if (ownDockerfile(options.profile) === null) return chooseBase(engineSources(say), options.base, say);
  await ensureImage({ profile: "default", base: options.base, say });
  return IMAGE_TAG;
}

export async function ensureImage(options: BuildOptions): Promise<BuiltImage> {
  const { say } = options;
  const tag = options.tag ?? defaultTag(options.profile);
  await requireEngine();
  await ensureLock(IMAGE_LOCK, say);
  const content = contentDigest(options.profile);
  const verify = verifyOptions();
  const verification = verificationDigest();
  const proves = (id: string): Proof => ({ id, runtime: verify.runtime, verification });
  const prove = async (id: string) => {
    say(`Verifying the image under ${verify.runtime}`);
    return verifyImage(id, verify);
  };

  const present = await inspectImage(tag);
  const current =
    present !== null &&
    present.labels[CONTENT_LABEL] === content &&
    (ownDockerfile(options.profile) !== null || baseIsCurrent(present.labels[BASE_LABEL], options.base));
  if (current && options.force !== true) {
    if (!isProven(proves(present.id))) {
      await requireIsolation(verify);
      await prove(present.id);
      recordProof(tag, proves(present.id));
    }
    return { id: present.id, built: false };
  }

  await requireIsolation(verify);
  const name = await baseFor(options);
  const base = { name, id: (await inspectImage(name))?.id ?? "" };
  say(`Building ${tag} on ${name} (a first build takes some minutes)`);
  const id = await buildImage(sandboxRecipe(options.profile, base, { [TAG_LABEL]: tag }), thisMachine(), say);
  const checks = await prove(id);
  await mustDocker(`Tagging ${tag}`, ["tag", id, tag]);
  recordProof(tag, proves(id));
  await removeOldImages(tag, [id, ...(present === null ? [] : [present.id])]);
  const image = await inspectImage(tag);
  say(`${tag} is ready: ${checks.length} checks passed, ${Math.round((image?.bytes ?? 0) / 1e6)} MB`);
  return { id, built: true };
}

if (import.meta.main) {
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  try {
    const { values } = parseArgs({
      options: {
        base: { type: "string" },
        profile: { type: "string", default: "default" },
        tag: { type: "string" },
        force: { type: "boolean", default: false },
      },
    });
    const image = await ensureImage({ ...values, say });
    if (!image.built) say(`${values.tag ?? defaultTag(values.profile)} is current.`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
