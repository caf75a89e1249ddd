/**
 * Makes sure that `custom-rce-kernel:latest` is the image of the present files: builds it when something has changed,
 * proves it under gVisor, and only then moves the tag.
 *
 *   node sandbox-image/tools/build.ts [--base IMAGE] [--profile NAME] [--tag NAME] [--force]
 */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { baseIsCurrent, chooseBase, engineSources } from "./base/choose.ts";
import { builderEnvironment, docker, inspectImage, mustDocker, requireEngine } from "./engine.ts";
import { ensureLock, IMAGE_LOCK } from "./lock.ts";
import {
  BASE_LABEL,
  CONTENT_LABEL,
  contentDigest,
  IMAGE_TAG,
  machineFiles,
  ROOM,
  stageContext,
  TAG_LABEL,
  verificationDigest,
} from "./plan.ts";
import { isProven, type Proof, recordProof } from "./proof.ts";
import { requireIsolation, verifyImage, verifyOptions } from "./verify/verify.ts";

const BUILD_TIMEOUT_MS = 1_800_000;

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

/** One progress line per build step, whichever builder speaks. */
export function progressLine(line: string): string | null {
  const step = /^(?:Step (\d+\/\d+) : |#\d+ \[(?:\S+ )?(\d+\/\d+)\] )(.*)/.exec(line);
  if (step === null) return null;
  const text = (step[3] ?? "").replace(/\s+/g, " ");
  return `  ${step[1] ?? step[2]} ${text.length > 90 ? `${text.slice(0, 89)}…` : text}`;
}

/** The whole build context, with what the build takes from this machine; whoever else builds the image uses it too. */
export function writeContext(profile: string, context: string, env: NodeJS.ProcessEnv = process.env): void {
  stageContext(profile, context);
  const machine = machineFiles(env, existsSync);
  if (machine.certificates !== null) {
    copyFileSync(machine.certificates, join(context, "build-machine", "ca-certificates.crt"));
  }
  if (machine.pipConf !== null) writeFileSync(join(context, "build-machine", "pip.conf"), machine.pipConf);
}

/** A profile with a Dockerfile of its own adds to the default image. */
const ownDockerfile = (profile: string): string | null => {
  const file = join("profiles", profile, "Dockerfile");
  return existsSync(join(ROOM, file)) ? file : null;
};

async function buildImage(
  tag: string,
  content: string,
  base: string,
  options: BuildOptions,
): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-build-"));
  try {
    const context = join(directory, "context");
    writeContext(options.profile, context);
    const idFile = join(directory, "image-id");
    await mustDocker(
      "Building the sandbox image",
      [
        ...["build", "--network=host", "--force-rm", `--iidfile=${idFile}`],
        ...["--file", join(context, ownDockerfile(options.profile) ?? "Dockerfile.rce")],
        ...["--build-arg", `BASE_IMAGE=${base}`, "--build-arg", `PROFILE=${options.profile}`],
        ...["--label", `${CONTENT_LABEL}=${content}`, "--label", `${BASE_LABEL}=${base}`],
        ...["--label", `${TAG_LABEL}=${tag}`, context],
      ],
      {
        timeoutMs: BUILD_TIMEOUT_MS,
        env: await builderEnvironment(),
        onLine: (line) => {
          const progress = progressLine(line);
          if (progress !== null) options.say(progress);
        },
      },
    );
    return readFileSync(idFile, "utf8").trim();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
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
    if (!isProven(tag, proves(present.id))) {
      await requireIsolation(verify);
      await prove(present.id);
      recordProof(tag, proves(present.id));
    }
    return { id: present.id, built: false };
  }

  await requireIsolation(verify);
  const base = await baseFor(options);
  say(`Building ${tag} on ${base} (a first build takes some minutes)`);
  const id = await buildImage(tag, content, base, options);
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
