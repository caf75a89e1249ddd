/**
 * A mirror of wheels: a flat folder that an operator offers to pip in sandboxes. `npm run wheels` fills one; `SHA256SUMS`
 * in it is what `sha256sum -c` reads, and its digest names the whole.
 */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export const CHECKSUMS = "SHA256SUMS";
const MOST_WHEELS = 10_000;
/** CPython 3.11 on Debian 12, whose C library is 2.36: what sandboxes have, or less. */
const PYTHON_MINOR = 11;
const GLIBC_MINOR = 36;
const MACHINES: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };
export const machineName = (arch: string = process.arch): string => MACHINES[arch] ?? arch;
const OTHERS_READ = 0o004;
const OTHERS_ENTER = 0o005;

export interface WheelMirror {
  readonly folder: string;
  readonly wheels: number;
  readonly bytes: number;
  /** Of its list of checksums. */
  readonly digest: string;
}

/** What is wrong with a mirror, and what to do. */
export class WheelMirrorError extends Error {
  override readonly name = "WheelMirrorError";
}

const WHEEL =
  /^(?<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?<version>[^-]+)(?:-\d[^-]*)?-(?<python>[^-]+)-(?<abi>[^-]+)-(?<platform>[^-]+)\.whl$/;

function pythonFits(python: string, abi: string): boolean {
  const [, implementation, minor] = /^(py|cp)3(\d*)$/.exec(python) ?? [];
  if (implementation === undefined) return false;
  const number = minor === "" ? 0 : Number(minor);
  if (implementation === "cp" && abi === `cp3${PYTHON_MINOR}`) return number === PYTHON_MINOR;
  return (abi === "none" || (abi === "abi3" && implementation === "cp")) && number <= PYTHON_MINOR;
}

function platformFits(platform: string, machine: string): boolean {
  if (platform === "any") return true;
  const [, libc] = new RegExp(`^(.*)_${machine}$`).exec(platform) ?? [];
  if (libc === undefined) return false;
  if (/^(linux|manylinux1|manylinux2010|manylinux2014)$/.test(libc)) return true;
  const [, minor] = /^manylinux_2_(\d+)$/.exec(libc) ?? [];
  return minor !== undefined && Number(minor) <= GLIBC_MINOR;
}

/** Whether pip in a sandbox would take the file of this name. */
export function fitsSandboxes(file: string, machine: string = machineName()): boolean {
  const { python = "", abi = "", platform = "" } = WHEEL.exec(file)?.groups ?? {};
  const some = (tags: string, fits: (tag: string) => boolean) => tags.split(".").some(fits);
  return (
    some(platform, (one) => platformFits(one, machine)) &&
    some(python, (one) => some(abi, (other) => pythonFits(one, other)))
  );
}

/** Looks at names and kinds; contents are what `sha256sum -c SHA256SUMS` is for. Throws `WheelMirrorError`. */
export function readMirror(folder: string, machine: string = machineName()): WheelMirror {
  const refuse = (what: string): never => {
    throw new WheelMirrorError(
      `KERNELYARD_WHEELS: ${what}. Remedy: fill the folder by \`npm run wheels -- LIST ${folder}\`, or unset KERNELYARD_WHEELS.`,
    );
  };
  let files: readonly string[];
  let sums: Buffer;
  try {
    if ((statSync(folder).mode & OTHERS_ENTER) !== OTHERS_ENTER)
      refuse(`sandboxes cannot enter ${folder} (chmod o+rx)`);
    files = readdirSync(folder)
      .filter((file) => file !== CHECKSUMS)
      .sort();
    sums = readFileSync(join(folder, CHECKSUMS));
  } catch (error) {
    if (error instanceof WheelMirrorError) throw error;
    return refuse(`${folder} cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
  if (files.length > MOST_WHEELS) refuse(`${folder} has more than ${MOST_WHEELS} files`);
  let bytes = 0;
  for (const file of files) {
    const status = lstatSync(join(folder, file));
    if (!status.isFile() || !fitsSandboxes(file, machine))
      refuse(`${join(folder, file)} is no wheel for CPython 3.${PYTHON_MINOR} on Linux (${machine})`);
    if ((status.mode & OTHERS_READ) === 0) refuse(`sandboxes cannot read ${join(folder, file)} (chmod o+r)`);
    bytes += status.size;
  }
  const listed = sums
    .toString("utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map(
      (line) =>
        /^[0-9a-f]{64} [ *](.+)$/.exec(line)?.[1] ?? refuse(`${CHECKSUMS} has a line ${line.slice(0, 100)}`),
    )
    .sort();
  const odd = files.find((file) => !listed.includes(file)) ?? listed.find((file) => !files.includes(file));
  if (odd !== undefined) refuse(`${odd} is not both in ${folder} and in its ${CHECKSUMS}`);
  const digest = `sha256:${createHash("sha256").update(sums).digest("hex")}`;
  return { folder, wheels: files.length, bytes, digest };
}
