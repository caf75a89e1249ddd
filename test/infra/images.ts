/**
 * The default bases of the stacks' images where no image registry can be reached: provided under their own names, made from
 * Debian packages, and without anything that the real ones lack (certificates, the sandbox's packages, mkfs). What differs:
 * Python is Debian's, in /usr/bin, and Node is the npm package's.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ownSources } from "../../sandbox-image/tools/base/debian.ts";
import { inspectImage } from "../../sandbox-image/tools/engine.ts";
import { buildImage } from "../../sandbox-image/tools/image-build.ts";
import { BASE_ID_LABEL, CONTENT_LABEL, contentDigest } from "../../sandbox-image/tools/plan.ts";
import { sandboxRecipe } from "../../sandbox-image/tools/recipe.ts";
import { thisMachine } from "../../sandbox-image/tools/this-machine.ts";
import { ROOT } from "./stack.ts";

const run = promisify(execFile);
const quiet = () => {};

export const SANDBOX_BASE = "python:3.11-slim";
export const SERVICE_BASE = "node:24-bookworm-slim";

const key = (...words: readonly string[]) =>
  createHash("sha256").update(words.join("\n")).digest("hex").slice(0, 12);
const docker = (args: readonly string[]) =>
  run("docker", [...args], {
    env: { ...process.env, DOCKER_BUILDKIT: "0" },
    timeout: 600_000,
    maxBuffer: 64 * 1024 * 1024,
  });

/** As small as Debian's own slim image, with these packages. */
async function debian(name: string, packages: readonly string[]): Promise<string> {
  const left = ["doc", "info", "man", "locale"].map((one) => `--dpkgopt=path-exclude=/usr/share/${one}/*`);
  const options = [
    "--variant=minbase",
    ...(packages.length === 0 ? [] : [`--include=${packages.join(",")}`]),
    ...left,
  ];
  const image = `kernelyard-test-${name}:${key(...options)}`;
  if ((await inspectImage(image)) !== null) return image;
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-base-"));
  try {
    const archive = join(folder, "base.tar");
    const args = [...options, "--quiet", "bookworm", archive, ...ownSources()];
    await run("mmdebstrap", args, { timeout: 600_000, maxBuffer: 64 * 1024 * 1024 });
    await docker(["import", archive, image]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return image;
}

const pythonImage = () =>
  debian("python", ["python3", "python3-venv", "ca-certificates", "netbase", "tzdata"]);

async function nodeImage(): Promise<string> {
  const base = await debian("debian", []);
  const node = realpathSync(join(ROOT, "node_modules/.bin/node"));
  const command = (await run("sh", ["-c", "command -v npm"])).stdout.trim();
  // The package around `bin/npm-cli.js`.
  const npm = join(dirname(realpathSync(command)), "..");
  const { stdout: version } = await run(node, ["--version"]);
  const dockerfile = `FROM ${base}
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
`;
  const image = `kernelyard-test-node:${key(version, dockerfile)}`;
  if ((await inspectImage(image)) !== null) return image;
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-node-base-"));
  try {
    copyFileSync(node, join(folder, "node"));
    cpSync(npm, join(folder, "npm"), { recursive: true, dereference: true });
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    await docker(["build", "--quiet", "--force-rm", "--tag", image, folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return image;
}

/** Both defaults under their names, if they are not there already; what it gives takes the names away again. */
async function provideBases(): Promise<() => Promise<void>> {
  const bases = [
    [SANDBOX_BASE, await pythonImage()],
    [SERVICE_BASE, await nodeImage()],
  ] as const;
  const named: string[] = [];
  for (const [name, image] of bases) {
    if ((await inspectImage(name)) !== null) continue;
    await docker(["tag", image, name]);
    named.push(name);
  }
  return async () => {
    if (named.length > 0) await docker(["image", "rm", ...named]).catch(() => {});
  };
}

async function sandboxName(): Promise<string> {
  const id = (await inspectImage(SANDBOX_BASE))?.id;
  if (id === undefined) throw new Error(`${SANDBOX_BASE} is not provided`);
  return `kernelyard-test-sandbox:${key(contentDigest("default"), id)}`;
}

/** The sandbox image of the present files on the default base, under a name of the tests' own. */
export async function sandboxImage(): Promise<string> {
  const name = await sandboxName();
  if ((await inspectImage(name)) === null)
    throw new Error(`${name} is not there: the ring's set-up makes it`);
  return name;
}

async function buildSandboxImage(): Promise<void> {
  const name = await sandboxName();
  if ((await inspectImage(name)) !== null) return;
  const id = (await inspectImage(SANDBOX_BASE))?.id ?? "";
  const same = await docker([
    ...[
      "image",
      "ls",
      "--quiet",
      "--no-trunc",
      "--filter",
      `label=${CONTENT_LABEL}=${contentDigest("default")}`,
    ],
    ...["--filter", `label=${BASE_ID_LABEL}=${id}`],
  ]);
  const found = same.stdout.split("\n")[0];
  const recipe = sandboxRecipe("default", { name: SANDBOX_BASE, id }, {});
  await docker(["tag", found || (await buildImage(recipe, thisMachine(), quiet)), name]);
}

/** Vitest's global set-up of the ring: its files run side by side and use the same images. */
export async function setup(): Promise<() => Promise<void>> {
  const takeAway = await provideBases();
  try {
    await buildSandboxImage();
  } catch (error) {
    await takeAway();
    throw error;
  }
  return takeAway;
}
