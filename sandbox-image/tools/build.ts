/**
 * Makes sure that `custom-rce-kernel:latest` is the image of the present files: builds it when something has changed,
 * proves it under gVisor, and only then moves the tag.
 *
 *   node sandbox-image/tools/build.ts [--profile NAME] [--base IMAGE] [--tag NAME] [--force]
 */
import { parseArgs } from "node:util";
import { imageOf } from "../../gateway/common/profiles.ts";
import { baseIsCurrent, chooseBase, engineSources } from "./base/choose.ts";
import { docker, inspectImage, mustDocker, requireEngine } from "./engine.ts";
import { buildImage } from "./image-build.ts";
import { ensureLock, profileLocks } from "./lock.ts";
import {
  BASE_ID_LABEL,
  BASE_LABEL,
  CONTENT_LABEL,
  contentDigest,
  TAG_LABEL,
  verificationDigest,
} from "./plan.ts";
import { librariesOf, parentOf } from "./profiles.ts";
import { isProven, type Proof, recordChecks, recordProof } from "./proof.ts";
import { sandboxRecipe } from "./recipe.ts";
import { thisMachine } from "./this-machine.ts";
import { requireIsolation, verifyImage, verifyOptions } from "./verify/verify.ts";

export interface BuildOptions {
  readonly profile: string;
  /** Default: `custom-rce-kernel:latest`, and for another profile its name in place of `latest`. */
  readonly tag?: string | undefined;
  /**
   * Default: the usual base, or one made from Debian packages where no registry can be reached; of a profile that adds to
   * another one, that one's image as it would be made now.
   */
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

/** What is below stays tagged: it is a profile of its own. */
async function imageBelow(parent: string, { base, say }: BuildOptions): Promise<string> {
  if (base === undefined) {
    await ensureImage({ profile: parent, say });
    return imageOf(parent);
  }
  if ((await inspectImage(base)) !== null) return base;
  throw new Error(
    `The base \`${base}\` (--base) is not on the engine: it must be an image of profile ${parent}.`,
  );
}

export async function ensureImage(options: BuildOptions): Promise<BuiltImage> {
  const { profile, say } = options;
  const tag = options.tag ?? imageOf(profile);
  await requireEngine();
  for (const lock of profileLocks(profile)) await ensureLock(lock, say);
  const parent = parentOf(profile);
  const below = parent === null ? null : await imageBelow(parent, options);
  const belowId = below === null ? null : ((await inspectImage(below))?.id ?? "");
  const content = contentDigest(profile);
  const verify = verifyOptions();
  const verification = verificationDigest();
  const proves = (id: string): Proof => ({ id, runtime: verify.runtime, verification });
  const prove = async (id: string) => {
    say(`Verifying the image under ${verify.runtime}`);
    const checks = await verifyImage(id, verify, librariesOf(profile));
    recordChecks(tag, id, checks);
    return checks;
  };

  const present = await inspectImage(tag);
  const current =
    present !== null &&
    present.labels[CONTENT_LABEL] === content &&
    (belowId === null
      ? baseIsCurrent(present.labels[BASE_LABEL], options.base)
      : present.labels[BASE_ID_LABEL] === belowId);
  if (current && options.force !== true) {
    if (!isProven(proves(present.id))) {
      await requireIsolation(verify);
      await prove(present.id);
      recordProof(tag, proves(present.id));
    }
    return { id: present.id, built: false };
  }

  await requireIsolation(verify);
  const name = below ?? (await chooseBase(engineSources(say), options.base, say));
  const base = { name, id: (await inspectImage(name))?.id ?? "" };
  say(`Building ${tag} on ${name} (a first build takes some minutes)`);
  const id = await buildImage(sandboxRecipe(profile, base, { [TAG_LABEL]: tag }), thisMachine(), say);
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
    if (!image.built) say(`${values.tag ?? imageOf(values.profile)} is current.`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
