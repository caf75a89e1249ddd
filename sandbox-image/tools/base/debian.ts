/**
 * A base image made from Debian packages, for places from which no image registry can be reached. bookworm's Python is
 * 3.11, the version of the usual base. The packages of `debian_packages.txt` are in it, so that the build itself fetches none.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mustRun, runCommand } from "../command.ts";
import { inspectImage, mustDocker } from "../engine.ts";
import { listEntries } from "../lists.ts";
import { ROOM } from "../room.ts";

const NAME = "kernelyard-base";
const SUITE = "bookworm";
const PYTHON_PACKAGES = ["python3", "python3-venv", "ca-certificates"];
const LEFT_OUT = ["doc", "info", "man", "locale"];
const MAKE_TIMEOUT_MS = 900_000;
/** Found first, wherever the checkout came from. */
const TOOL = "mmdebstrap";

/** A bookworm machine's own package sources, so that a company's mirror is used here as well. */
export function ownSources(): readonly string[] {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  if (!/^VERSION_CODENAME=bookworm$/m.test(release) || !/^ID=debian$/m.test(release)) return [];
  return ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"]
    .filter((path) => existsSync(path) && readFileSync(path, "utf8").trim() !== "")
    .slice(0, 1);
}

export interface DebianPlan {
  readonly image: string;
  readonly args: readonly string[];
}

/** Pure: the name changes with the packages, not with the machine. */
export function debianPlan(packages: readonly string[], sources: readonly string[]): DebianPlan {
  const include = [...new Set([...PYTHON_PACKAGES, ...packages])];
  const options = [
    "--variant=minbase",
    `--include=${include.join(",")}`,
    ...LEFT_OUT.map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
    // Licences stay.
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
  ];
  const key = createHash("sha256")
    .update([SUITE, ...options].join("\n"))
    .digest("hex")
    .slice(0, 12);
  return {
    image: `${NAME}:${SUITE}-${key}`,
    args: [...options, "--quiet", SUITE, "-", ...sources],
  };
}

async function requireTool(say: (line: string) => void): Promise<void> {
  const options = { timeoutMs: 300_000, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  const there = async () => (await runCommand(TOOL, ["--version"], options)).code === 0;
  if (await there()) return;
  if (process.getuid?.() === 0) {
    say(`Installing ${TOOL}, which makes the base`);
    const install = ["install", "-q", "-y", "--no-install-recommends", TOOL, "debian-archive-keyring"];
    if ((await runCommand("apt-get", install, options)).code !== 0) {
      await runCommand("apt-get", ["update", "-q"], options);
      await runCommand("apt-get", install, options);
    }
    if (await there()) return;
  }
  throw new Error(
    `No image registry can be reached, and \`${TOOL}\`, which makes a base from Debian packages, is missing: apt-get install ${TOOL} debian-archive-keyring`,
  );
}

const presentPlan = (): DebianPlan =>
  debianPlan(listEntries(readFileSync(join(ROOM, "debian_packages.txt"), "utf8")), ownSources());

export const debianBaseName = (): string => presentPlan().image;
export const isDebianBase = (image: string | undefined): boolean => image?.startsWith(`${NAME}:`) ?? false;

/** The base's name; made (half a minute) unless it is there. */
export async function ensureDebianBase(say: (line: string) => void): Promise<string> {
  const plan = presentPlan();
  if ((await inspectImage(plan.image)) !== null) return plan.image;
  await requireTool(say);
  say(`Making the base from Debian packages (${plan.image}, about half a minute)`);
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-base-"));
  try {
    const archive = join(directory, "base.tar");
    const args = plan.args.map((arg) => (arg === "-" ? archive : arg));
    await mustRun("Making the base from Debian packages", TOOL, args, { timeoutMs: MAKE_TIMEOUT_MS });
    await mustDocker("Importing the base", ["import", archive, plan.image], { timeoutMs: MAKE_TIMEOUT_MS });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return plan.image;
}
