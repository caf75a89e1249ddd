/**
 * Makes sure that an image of the stack is where the stack looks for it, and prints it by digest (on an engine alone: its
 * id). A tag that the registry has is taken as it is: tags are digests of the content, and some registries take each once.
 * Otherwise the image is built from this checkout, the sandbox's proven, and then pushed. Run by the deployment.
 */

import { DEFAULT_PROFILE } from "../../gateway/common/profiles.ts";
import { SHIPPED_SECCOMP_FILE } from "../../gateway/host/isolation.ts";
import { docker, inspectImage, mustDocker } from "../../sandbox-image/tools/engine.ts";
import { buildImage, type ImageRecipe } from "../../sandbox-image/tools/image-build.ts";
import { BASE_ID_LABEL, CONTENT_LABEL, verificationDigest } from "../../sandbox-image/tools/plan.ts";
import { profileChain } from "../../sandbox-image/tools/profiles.ts";
import { isProven, recordProof } from "../../sandbox-image/tools/proof.ts";
import type { Base } from "../../sandbox-image/tools/recipe.ts";
import { ROOM } from "../../sandbox-image/tools/room.ts";
import {
  requireIsolation,
  type VerifyOptions,
  verifyImage,
} from "../../sandbox-image/tools/verify/verify.ts";
import { enginePlace } from "./engine-place.ts";
import { ImageOrder, ORDER_VARIABLE } from "./image-order.ts";
import { recipeOf, repositoryOf, sandboxLibraries } from "./image-recipe.ts";
import { registryLogin } from "./registry-login.ts";

const PULL_TIMEOUT_MS = 1_800_000;

const say = (line: string) => void process.stderr.write(`${line}\n`);

const architectureOf = async (image: string): Promise<string> =>
  (await docker(["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image])).stdout.trim();

/** On the engine, for the right machines; pulled when it is not there. */
async function ensureBase(order: ImageOrder): Promise<Base> {
  const { base: name, platform } = order;
  const present = await inspectImage(name);
  const fits = platform === undefined || (present !== null && (await architectureOf(name)) === platform);
  if (present !== null && fits) return { name, id: present.id };
  say(`Pulling the base ${name}`);
  const flags = platform === undefined ? [] : ["--platform", platform];
  const pulled = await docker(["pull", "--quiet", ...flags, name], { timeoutMs: PULL_TIMEOUT_MS });
  const image = await inspectImage(name);
  if (pulled.code !== 0 || image === null) {
    const key = order.image === "sandbox" ? "sandboxBaseImage" : "serviceBaseImage";
    throw new Error(
      `The base image ${name} is not on the engine that builds, and cannot be pulled: ${pulled.stderr.trim()}\n` +
        `Check kernelyard:${key}, and that this engine reaches its registry.`,
    );
  }
  return { name, id: image.id };
}

/** An image of the same content on the same base, whoever built it: another stack, or `npm run image`. */
async function sameImage(recipe: ImageRecipe, base: Base): Promise<string | null> {
  const listed = await docker([
    ...["image", "ls", "--quiet", "--no-trunc"],
    ...["--filter", `label=${CONTENT_LABEL}=${recipe.labels[CONTENT_LABEL]}`],
    ...["--filter", `label=${BASE_ID_LABEL}=${base.id}`],
  ]);
  for (const id of new Set(listed.stdout.split("\n").filter((line) => line !== ""))) {
    if (recipe.platform === undefined || (await architectureOf(id)) === recipe.platform) return id;
  }
  return null;
}

const profileOf = (order: ImageOrder): string => order.profile ?? DEFAULT_PROFILE;

/** A profile's image stands on those of the profiles below it. */
async function built(order: ImageOrder): Promise<string> {
  let base = await ensureBase(order);
  const below = order.image === "sandbox" ? profileChain(profileOf(order), order.folder).slice(0, -1) : [];
  for (const profile of below) {
    const id = await builtOn({ ...order, profile }, base);
    // Builders take a base by name.
    const name = `${repositoryOf(order.name)}:below-${id.replace(/^sha256:/, "").slice(0, 16)}`;
    await mustDocker(`Naming ${name}`, ["tag", id, name]);
    base = { name, id };
  }
  return builtOn(order, base);
}

async function builtOn(order: ImageOrder, base: Base): Promise<string> {
  const recipe = recipeOf(order, base);
  const same = await sameImage(recipe, base);
  if (same !== null) {
    say(`${recipe.name}: the engine has it already`);
    return same;
  }
  say(`Building ${recipe.name} on ${base.name}`);
  return buildImage(recipe, await place.machine(), say);
}

/** Nothing of an image that fails is where a launcher could find it. */
async function prove(order: ImageOrder, id: string): Promise<void> {
  if (order.verify === null) return;
  const options: VerifyOptions = {
    runtime: order.verify.isolation === "runc-unsafe" ? "runc" : "runsc",
    seccompProfile: SHIPPED_SECCOMP_FILE,
  };
  const proof = { id, runtime: options.runtime, verification: verificationDigest() };
  // What was proven on this machine says nothing of another one.
  if (!place.remote && isProven(proof)) return;
  await requireIsolation(options);
  say(`Verifying the image under ${options.runtime}`);
  await verifyImage(id, options, sandboxLibraries(order.folder ?? ROOM, profileOf(order)));
  if (!place.remote) recordProof(repositoryOf(order.name), proof);
}

/** NAME@sha256:… of the repository; an engine may know an image by several. */
async function digestOf(name: string): Promise<string> {
  const repository = repositoryOf(name);
  const said = await mustDocker(`Asking for ${name}'s digest`, [
    ...["image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name],
  ]);
  const found = said.split("\n").find((line) => line.startsWith(`${repository}@`));
  if (found === undefined) throw new Error(`${name} was pushed, but the engine knows no digest of it.`);
  return found;
}

async function publish(order: ImageOrder): Promise<string> {
  if (order.registry === null) {
    const present = await inspectImage(order.name);
    if (present !== null) return present.id;
    const id = await built(order);
    await mustDocker(`Naming ${order.name}`, ["tag", id, order.name]);
    return id;
  }
  const login = await registryLogin(order.registry);
  try {
    const options = { timeoutMs: PULL_TIMEOUT_MS };
    const pulled = await docker([...login.flags, "pull", "--quiet", order.name], options);
    const present = pulled.code === 0 ? await inspectImage(order.name) : null;
    if (present !== null) say(`${order.name}: the registry has it already`);
    const id = present?.id ?? (await built(order));
    await prove(order, id);
    if (present === null) {
      await mustDocker(`Naming ${order.name}`, ["tag", id, order.name]);
      await mustDocker(`Pushing ${order.name}`, [...login.flags, "push", order.name], options);
    }
    return await digestOf(order.name);
  } finally {
    login.end();
  }
}

const order = ImageOrder.parse(JSON.parse(process.env[ORDER_VARIABLE] ?? "null"));
const place = await enginePlace(order.engine);
try {
  process.stdout.write(`${await publish(order)}\n`);
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  place.end();
}
