/** ShellCheck on every shell script here, known by its name or its first line. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import { dirname, join } from "node:path";
import { ensureVenv } from "../sandbox-image/tools/venv.ts";
import { filesBelow, ROOT } from "./support/documents.ts";

const SHEBANG = /^#! ?\S*\/(env )?(ba|da)?sh\b/;

function firstBytes(path: string): string {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(64);
    return bytes.toString("latin1", 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}

export interface ShellScript {
  /** Relative to the folder. */
  readonly path: string;
  readonly shebang: boolean;
}

export function shellScripts(folder = ROOT): ShellScript[] {
  return filesBelow(folder).flatMap((path) => {
    const shebang = SHEBANG.test(firstBytes(join(folder, path)));
    return shebang || path.endsWith(".sh") ? [{ path, shebang }] : [];
  });
}

if (import.meta.main) {
  const python = await ensureVenv((line) => void process.stdout.write(`${line}\n`));
  const program = join(dirname(python), "shellcheck");
  const scripts = shellScripts();
  const failed = [true, false].filter((shebang) => {
    const paths = scripts.filter((script) => script.shebang === shebang).map(({ path }) => path);
    const { status, error } = spawnSync(
      program,
      [
        ...["--external-sources", "--check-sourced", "--source-path=SCRIPTDIR"],
        // A part that a script reads in: who uses its names is seen where that script is checked.
        ...(shebang ? [] : ["--shell=bash", "--exclude=SC2034,SC2154,SC2329"]),
        ...paths,
      ],
      { cwd: ROOT, stdio: "inherit" },
    );
    if (error !== undefined) throw error;
    return status !== 0;
  });
  process.stdout.write(`${scripts.length} shell scripts checked\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
