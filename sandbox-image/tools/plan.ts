/** What goes into the sandbox image, and the digest that names it. Reads files, runs nothing. */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

export const ROOM = join(import.meta.dirname, "..");
export const IMAGE_TAG = "custom-rce-kernel:latest";
export const DEFAULT_BASE = "python:3.11-slim";

/** Digest of everything the image was made from; the same digest means there is nothing to do. */
export const CONTENT_LABEL = "kernelyard.content";
/** The tag an image was built for; untagged ones of the same tag are its predecessors. */
export const TAG_LABEL = "kernelyard.tag";
/** The base that was used, as a person would name it. */
export const BASE_LABEL = "kernelyard.base";

/** What `docker build` reads, relative to this folder. */
const CONTEXT = [
  "Dockerfile.rce",
  "rce_requirements.txt",
  "rce_requirements.lock",
  "debian_packages.txt",
  "matplotlibrc",
  "finish.py",
  "fonts.py",
  "site",
  "supervisor",
  "kernel",
] as const;
/** Not in the image, but a change in them must build or verify it again. */
const BESIDE = ["tools/base", "tools/verify"] as const;

const IGNORED = /^(__pycache__|\..*|.*\.pyc)$/;

function listFiles(room: string, entry: string): string[] {
  const stat = statSync(join(room, entry), { throwIfNoEntry: false });
  if (stat === undefined) {
    throw new Error(`The sandbox image needs \`sandbox-image/${entry}\`, which is not there.`);
  }
  if (!stat.isDirectory()) return [entry];
  return readdirSync(join(room, entry), { withFileTypes: true })
    .filter((item) => !IGNORED.test(item.name))
    .flatMap((item) => listFiles(room, `${entry}/${item.name}`));
}

const profileFolder = (profile: string): string => `profiles/${profile}`;

/** The files of the build context, sorted, without caches. */
export const contextFiles = (profile: string, room = ROOM): readonly string[] =>
  [...CONTEXT, profileFolder(profile)].flatMap((entry) => listFiles(room, entry)).sort();

/** A digest over names and contents. */
export function contentHash(profile: string, room = ROOM): string {
  const hash = createHash("sha256").update(`profile ${profile}\n`);
  const beside = BESIDE.flatMap((entry) => listFiles(room, entry));
  for (const file of [...contextFiles(profile, room), ...beside].sort()) {
    const content = readFileSync(join(room, file));
    hash.update(`${file}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

/** What the build takes from the machine it runs on: see `build-machine/README.md`. */
export function machineFiles(
  env: NodeJS.ProcessEnv,
  exists: (path: string) => boolean,
): { readonly certificates: string | null; readonly pipConf: string | null } {
  const candidates = [env.PIP_CERT, env.SSL_CERT_FILE, "/etc/ssl/certs/ca-certificates.crt"];
  const certificates = candidates.find((path) => path !== undefined && path !== "" && exists(path)) ?? null;
  const settings = (
    [
      ["index-url", env.PIP_INDEX_URL],
      ["extra-index-url", env.PIP_EXTRA_INDEX_URL],
      ["trusted-host", env.PIP_TRUSTED_HOST],
      ["proxy", env.PIP_PROXY],
    ] as const
  ).flatMap(([key, value]) => (value === undefined || value === "" ? [] : [`${key} = ${value}`]));
  return {
    certificates,
    pipConf: settings.length === 0 ? null : `[global]\n${settings.join("\n")}\n`,
  };
}

/** Copies the hashed files, and nothing else, to where the engine's client reads them. */
export function stageContext(profile: string, target: string, room = ROOM): void {
  // The build names these folders even while one has nothing in it.
  for (const folder of ["site", "supervisor", "kernel"]) mkdirSync(join(target, folder), { recursive: true });
  for (const file of contextFiles(profile, room)) {
    const path = join(target, file);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(room, file), path);
  }
  mkdirSync(join(target, "build-machine"), { recursive: true });
  copyFileSync(join(room, "build-machine", "README.md"), join(target, "build-machine", "README.md"));
}

/** Words of a list file: one entry a line, `#` starts a comment. */
export const listEntries = (text: string): readonly string[] =>
  text
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");

/** Distribution names of a requirements list, without versions, extras and markers. */
export function distributionNames(requirements: string): readonly string[] {
  return listEntries(requirements).map((line) => {
    const name = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/.exec(line)?.[0];
    if (name === undefined) {
      throw new Error(
        `rce_requirements.txt: \`${line}\` does not name a package; write one package per line.`,
      );
    }
    return name;
  });
}
