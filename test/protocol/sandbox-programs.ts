/**
 * The image's layout of Python, made of the development environment: `python3` and `kernel` as the image has them, the
 * interpreter itself as `python3.11`, and what the image adds to every start.
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { buildNative } from "../../sandbox-image/tools/native.ts";
import { ROOM } from "../../sandbox-image/tools/room.ts";

const SITE_PACKAGES = "lib/python3.11/site-packages";

export interface SandboxPrograms {
  /** Where `python3`, `python`, `python3.11` and `kernel` are. */
  readonly bin: string;
  readonly pythonSocket: string;
  readonly kernelSocket: string;
  /** What the supervisor has to be told. */
  readonly args: readonly string[];
  remove(): void;
}

export interface Mirror {
  /** With wheels in it. */
  readonly folder: string;
  /** What the image has and keeps, as pip takes constraints. */
  readonly constraints: string;
}

/** `python`: of the development environment. `mirror`: null where the operator has none. */
export async function makeSandboxPrograms(
  python: string,
  mirror: Mirror | null = null,
): Promise<SandboxPrograms> {
  const root = mkdtempSync(join(tmpdir(), "sandbox-programs-"));
  const name = basename(root);
  const home = join(root, "python");
  const bin = join(home, "bin");
  const native = join(root, "native");
  const realPython = join(bin, "python3.11");
  const venv = dirname(dirname(python));
  const packages = join(home, SITE_PACKAGES);
  mkdirSync(bin, { recursive: true });
  mkdirSync(packages, { recursive: true });
  for (const entry of readdirSync(join(venv, SITE_PACKAGES)))
    symlinkSync(join(venv, SITE_PACKAGES, entry), join(packages, entry));
  for (const file of ["kernelyard.pth", "kernelyard_site.py"])
    copyFileSync(join(ROOM, "site", file), join(packages, file));
  copyFileSync(join(venv, "pyvenv.cfg"), join(home, "pyvenv.cfg"));
  symlinkSync(realpathSync(python), realPython);
  const own = join(root, "kernelyard");
  mkdirSync(own);
  for (const entry of readdirSync(ROOM)) symlinkSync(join(ROOM, entry), join(own, entry));
  const table = execFileSync(python, ["-I", join(ROOM, "elsewhere.py"), join(ROOM, "profiles")]);
  writeFileSync(join(own, "elsewhere.txt"), table);
  if (mirror !== null) {
    symlinkSync(mirror.folder, join(own, "wheels"));
    writeFileSync(join(own, "constraints.txt"), mirror.constraints);
  }

  const [pythonSocket, kernelSocket] = [`${name}-python3`, `${name}-kernel`];
  await buildNative({ directory: native, realPython, pythonSocket, kernelSocket });
  renameSync(join(native, "python3"), join(bin, "python3"));
  linkSync(join(bin, "python3"), join(bin, "python"));
  renameSync(join(native, "kernel"), join(bin, "kernel"));
  // Without one of its own, a program's `pip` would be this machine's.
  const pip = `#!${join(bin, "python3")}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n`;
  for (const file of ["pip", "pip3"]) writeFileSync(join(bin, file), pip, { mode: 0o755 });
  return {
    bin,
    pythonSocket,
    kernelSocket,
    args: ["--native", native, "--python-socket", pythonSocket, "--kernel-socket", kernelSocket],
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}
