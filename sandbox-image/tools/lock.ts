/**
 * Locks with hashes. `rce_requirements.txt` and the `requirements.txt` of a profile are what an operator edits; the lock
 * beside each pins it with everything it needs, for CPython 3.11 on Linux. A lock names the digest of its list, so a changed
 * list is noticed by anyone.
 *
 * `node sandbox-image/tools/lock.ts` compiles the locks whose lists changed; `--upgrade` takes the newest versions of all.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { mustRun, runCommand } from "./command.ts";
import { profileChain, profileNames, requirementsOf } from "./profiles.ts";
import { ROOM } from "./room.ts";

export const PYTHON_VERSION = "3.11";
const COMPILE_TIMEOUT_MS = 300_000;

export interface LockSpec {
  readonly list: string;
  readonly lock: string;
  /** Locks whose versions this one must agree with: all are installed into one environment. */
  readonly constraints: readonly string[];
}

export const IMAGE_LOCK: LockSpec = {
  list: join(ROOM, "rce_requirements.txt"),
  lock: join(ROOM, "rce_requirements.lock"),
  constraints: [],
};

/** Of a profile and those below it, the lowest first. */
export function profileLocks(profile: string, room = ROOM): readonly LockSpec[] {
  const locks: LockSpec[] = [];
  for (const each of profileChain(profile, room)) {
    const list = requirementsOf(each, room);
    const constraints = locks.map((below) => below.lock);
    locks.push({ list, lock: list.replace(/\.txt$/, ".lock"), constraints });
  }
  return locks;
}

/** Every lock of the project. */
export const allLocks = (): readonly LockSpec[] => [
  ...new Map(
    [...profileNames().flatMap((profile) => profileLocks(profile)), DEV_LOCK].map(
      (spec) => [spec.lock, spec] as const,
    ),
  ).values(),
];

/** What working on the sandbox needs beside the image's own libraries. */
export const DEV_LOCK: LockSpec = {
  list: join(ROOM, "dev_requirements.txt"),
  lock: join(ROOM, "dev_requirements.lock"),
  constraints: [IMAGE_LOCK.lock],
};

const sha256 = (content: string | Buffer): string => createHash("sha256").update(content).digest("hex");

/** The first line of a lock. `Dockerfile.rce` checks the same line, so a plain `docker build` notices as well. */
export const lockHeader = (list: Buffer): string => `# sha256 of the list: ${sha256(list)}`;

const pins = (lock: string): ReadonlyMap<string, string> =>
  new Map(
    [...readFileSync(lock, "utf8").matchAll(/^([^\s#=]+)==(\S+)/gm)].map(([, name = "", version = ""]) => [
      name,
      version,
    ]),
  );

/** Of its list as it is now, and with no other version of anything than the locks that it must agree with. */
export function lockIsCurrent(spec: LockSpec): boolean {
  if (!existsSync(spec.lock)) return false;
  const [first] = readFileSync(spec.lock, "utf8").split("\n", 1);
  if (first !== lockHeader(readFileSync(spec.list))) return false;
  const own = pins(spec.lock);
  return spec.constraints.every((constraint) =>
    [...pins(constraint)].every(([name, version]) => (own.get(name) ?? version) === version),
  );
}

/** Per-user cache for what can be made again. */
export function cacheDirectory(): string {
  const path = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "kernelyard");
  mkdirSync(path, { recursive: true });
  return path;
}

/** One package's entry of a lock, with its hashes: `name==1.2 \` and the indented lines below it. */
export function lockEntry(lock: string, name: string): string {
  const lines = lock.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`${name}==`));
  if (start === -1) throw new Error(`The lock has no entry for \`${name}\`.`);
  const rest = lines.slice(start + 1);
  const length = rest.findIndex((line) => !line.startsWith(" "));
  return `${[lines[start], ...rest.slice(0, length === -1 ? undefined : length)].join("\n")}\n`;
}

/** uv reads its own names for what pip users have already set: the certificate bundle and the package index. */
export function uvEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const bundle = env.SSL_CERT_FILE ?? env.PIP_CERT;
  const index = env.UV_DEFAULT_INDEX ?? env.PIP_INDEX_URL;
  return {
    ...env,
    ...(bundle === undefined ? {} : { SSL_CERT_FILE: bundle }),
    ...(index === undefined ? {} : { UV_DEFAULT_INDEX: index }),
    UV_NO_CONFIG: "1",
    UV_PYTHON_DOWNLOADS: "never",
  };
}

/** uv, at the version and hashes of the development lock, in the user's cache. */
export async function ensureUv(): Promise<string> {
  const entry = lockEntry(readFileSync(DEV_LOCK.lock, "utf8"), "uv");
  const home = join(cacheDirectory(), `uv-${sha256(entry).slice(0, 16)}`);
  const program = join(home, "bin", "uv");
  if (existsSync(program)) return program;
  const making = mkdtempSync(join(cacheDirectory(), "making-uv-"));
  try {
    const options = { timeoutMs: COMPILE_TIMEOUT_MS };
    const venv = await runCommand("python3", ["-m", "venv", making], options);
    if (venv.code !== 0) {
      throw new Error(
        `Locks are compiled with Python's \`venv\`, which is missing here: apt-get install python3-venv\n${venv.stderr.trim()}`,
      );
    }
    const requirement = join(making, "uv.txt");
    writeFileSync(requirement, entry);
    await mustRun(
      "Installing uv (it compiles the lock; a package index must be reachable)",
      join(making, "bin", "pip"),
      ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", requirement],
      options,
    );
    try {
      renameSync(making, home);
    } catch (error) {
      // Somebody else was faster; theirs is as good.
      if (!existsSync(program)) throw error;
    }
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return program;
}

async function compile(uv: string, spec: LockSpec, upgrade: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "kernelyard-lock-"));
  try {
    // The old lock is where uv finds the versions to keep: one new line in the list moves nothing else.
    const output = join(directory, "lock");
    if (existsSync(spec.lock)) writeFileSync(output, readFileSync(spec.lock));
    const list = readFileSync(spec.list);
    await mustRun(
      `Compiling ${spec.lock} from ${spec.list} (a package index must be reachable; the lock is unchanged)`,
      uv,
      [
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        `--python-version=${PYTHON_VERSION}`,
        "--python-platform=linux",
        "--only-binary=:all:",
        ...(upgrade ? ["--upgrade"] : []),
        ...spec.constraints.flatMap((constraint) => ["--constraint", constraint]),
        "--output-file",
        output,
        spec.list,
      ],
      { timeoutMs: COMPILE_TIMEOUT_MS, env: uvEnvironment(), cwd: directory },
    );
    const pins = readFileSync(output, "utf8")
      .split("\n")
      .filter((line) => !line.startsWith("#"))
      .join("\n");
    const making = `${spec.lock}.making`;
    writeFileSync(making, `${lockHeader(list)}\n${pins}`);
    renameSync(making, spec.lock);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Compiles the lock when its list changed. Says so through `say`; returns whether it did. */
export async function ensureLock(
  spec: LockSpec,
  say: (line: string) => void,
  upgrade = false,
): Promise<boolean> {
  if (!upgrade && lockIsCurrent(spec)) return false;
  say(`${spec.list} ${upgrade ? "is upgraded" : "has changed"}: compiling its lock`);
  await compile(await ensureUv(), spec, upgrade);
  return true;
}

if (import.meta.main) {
  const upgrade = process.argv.includes("--upgrade");
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  try {
    let changed = false;
    for (const spec of allLocks()) changed = (await ensureLock(spec, say, upgrade)) || changed;
    say(changed ? "Locks written." : "The locks are current.");
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
