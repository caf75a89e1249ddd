/**
 * `npm run wheels -- LIST FOLDER`: fills a mirror of wheels (`KERNELYARD_WHEELS`) with the packages of an allow list and
 * all they need. Versions are locked with hashes beside the list, in agreement with the libraries of the sandbox image's
 * profiles, and kept until the list changes; what every sandbox has is left out.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CHECKSUMS, machineName, readMirror } from "../../../gateway/common/wheels.ts";
import { mustRun } from "../command.ts";
import { allLocks, DEV_LOCK, ensureLock, ensureUv, IMAGE_LOCK, PYTHON_VERSION } from "../lock.ts";
import { withoutPinned } from "./selection.ts";

const DOWNLOAD_TIMEOUT_MS = 3_600_000;
const USAGE = "Usage: npm run wheels -- LIST FOLDER, with one package a line in LIST.";
/** C libraries that a wheel may be made for and still run in a sandbox, as pip names them. */
const GLIBC = ["manylinux_2_36", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_24"];
const OLDER = [
  "manylinux_2_17",
  "manylinux2014",
  "manylinux_2_12",
  "manylinux2010",
  "manylinux_2_5",
  "manylinux1",
];

const say = (line: string) => void process.stdout.write(`${line}\n`);

async function download(lock: string, folder: string): Promise<void> {
  // The pip that brought uv: the path in its own script is that of the place where it was made.
  const python = join(dirname(await ensureUv()), "python3");
  const platforms = [...GLIBC, ...OLDER, "linux"].map((libc) => `--platform=${libc}_${machineName()}`);
  const abis = ["cp311", "abi3", "none"].map((abi) => `--abi=${abi}`);
  await mustRun(
    "Downloading the wheels (a package index must be reachable; the mirror is unchanged)",
    python,
    [
      ...["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"],
      ...["--only-binary=:all:", "--implementation=cp", `--python-version=${PYTHON_VERSION}`],
      ...[...platforms, ...abis, `--dest=${folder}`, "-r", lock],
    ],
    { timeoutMs: DOWNLOAD_TIMEOUT_MS },
  );
}

const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** New wheels first, then the list that names them, then the old ones go: a sandbox that installs meanwhile finds what it looks for. */
function moveInto(from: string, folder: string): void {
  const files = readdirSync(from).sort();
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  const sums = files.map((file) => `${sha256(join(from, file))}  ${file}\n`).join("");
  for (const file of files) {
    chmodSync(join(from, file), 0o644);
    renameSync(join(from, file), join(folder, file));
  }
  writeFileSync(join(from, CHECKSUMS), sums, { mode: 0o644 });
  renameSync(join(from, CHECKSUMS), join(folder, CHECKSUMS));
  for (const file of readdirSync(folder)) {
    if (file.endsWith(".whl") && !files.includes(file)) rmSync(join(folder, file));
  }
}

async function main(words: readonly string[]): Promise<void> {
  const [givenList, givenFolder, ...more] = words;
  if (givenList === undefined || givenFolder === undefined || more.length > 0) throw new Error(USAGE);
  const [list, folder] = [resolve(givenList), resolve(givenFolder)];
  if (!existsSync(list)) throw new Error(`There is no list ${list}. ${USAGE}`);
  const lock = `${list.replace(/\.txt$/, "")}.lock`;
  const constraints = allLocks()
    .map((spec) => spec.lock)
    .filter((path) => path !== DEV_LOCK.lock);
  await ensureLock({ list, lock, constraints }, say);

  mkdirSync(dirname(folder), { recursive: true });
  // Beside it: on the same file system, and no file of the mirror.
  const making = mkdtempSync(`${folder}.making-`);
  try {
    const wanted = join(making, "wanted.txt");
    writeFileSync(wanted, withoutPinned(readFileSync(lock, "utf8"), readFileSync(IMAGE_LOCK.lock, "utf8")));
    const wheels = join(making, "wheels");
    mkdirSync(wheels);
    await download(wanted, wheels);
    moveInto(wheels, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  const { bytes, digest, wheels } = readMirror(folder);
  say(`${folder}: ${wheels} wheels, ${(bytes / 1e6).toFixed(1)} MB, ${digest}`);
  say(`Offer them: KERNELYARD_WHEELS=${folder} npm start`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
