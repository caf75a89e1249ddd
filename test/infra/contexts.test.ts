/**
 * The lists of the images, read by the real builder: what reaches a build is what the tag's digest is over. In place of
 * BuildKit, which takes a Dockerfile's own list, the engine's classic builder with the list at the context's root.
 */
import { execFile } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SERVICE_DOCKERFILE } from "../../infra/parts/tags.ts";
import { listedFiles } from "../../sandbox-image/tools/build-context.ts";
import { ROOT } from "./stack.ts";

const run = promisify(execFile);
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kernelyard-lists-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Files of an image that copies all of the context; the Dockerfile comes from outside, as BuildKit has it. */
async function filesThatTheBuilderSees(context: string): Promise<string[]> {
  const recipe = join(folder, "recipe");
  writeFileSync(recipe, 'FROM scratch\nCOPY . /context/\nCMD ["none"]\n');
  const image = `kernelyard-test-lists:${process.pid}`;
  const options = { env: { ...process.env, DOCKER_BUILDKIT: "0" } };
  await run("docker", ["build", "--quiet", "--tag", image, "--file", recipe, context], options);
  try {
    const { stdout: container } = await run("docker", ["create", image]);
    const archive = join(folder, "image.tar");
    try {
      await run("docker", ["export", "--output", archive, container.trim()]);
    } finally {
      await run("docker", ["rm", container.trim()]);
    }
    const { stdout } = await run("tar", ["-tf", archive]);
    return stdout
      .split("\n")
      .filter((path) => path.startsWith("context/") && !path.endsWith("/"))
      .map((path) => path.slice("context/".length))
      .sort();
  } finally {
    await run("docker", ["image", "rm", image]);
  }
}

it("the services' list", async () => {
  const context = join(folder, "project");
  mkdirSync(context);
  for (const entry of [
    "gateway",
    "infra",
    "docs",
    "sandbox-image",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "README.md",
  ])
    cpSync(join(ROOT, entry), join(context, entry), { recursive: true });
  const list = join(context, ".dockerignore");
  copyFileSync(join(ROOT, `${SERVICE_DOCKERFILE}.dockerignore`), list);
  expect(await filesThatTheBuilderSees(context)).toEqual(listedFiles(context, list));
});

it("the sandbox's list, and what an operator may write", async () => {
  const context = join(folder, "sandbox-image");
  cpSync(join(ROOT, "sandbox-image"), context, { recursive: true });
  const list = join(context, ".dockerignore");
  expect(await filesThatTheBuilderSees(context)).toEqual(listedFiles(context, list));

  const own = join(folder, "own");
  const paths = [
    "a.ts",
    "b.md",
    ".hidden",
    "deep/.hidden",
    "deep/er/c.ts",
    "deep/er/d.md",
    "deep/x1",
    "other/e.ts",
  ];
  for (const path of paths) {
    mkdirSync(dirname(join(own, path)), { recursive: true });
    writeFileSync(join(own, path), path);
  }
  const lists = [
    "*\n!deep/er\n**/*.md\n",
    "**/.*\n!deep/.hidden\nother/\n",
    "# all but\n/deep/er/\n!deep/er/c.ts\ndeep/x?\n",
    "**\n!**/*.ts\nother/e.ts\n",
    "deep\n!deep/er/[c-d].ts\n*.md\n",
  ];
  for (const text of lists) {
    writeFileSync(join(own, ".dockerignore"), text);
    expect(await filesThatTheBuilderSees(own), text).toEqual(listedFiles(own, join(own, ".dockerignore")));
  }
});
