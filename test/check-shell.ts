/** ShellCheck on every shell script here, known by its name or its first line. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ensureVenv } from "../sandbox-image/tools/venv.ts";

const ROOT = join(import.meta.dirname, "..");
const NOT_OURS = new Set(["node_modules", ".git", ".venv", "results"]);
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

export function shellScripts(folder = ROOT): { readonly path: string; readonly shebang: boolean }[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : shellScripts(path);
    if (!entry.isFile()) return [];
    const shebang = SHEBANG.test(firstBytes(path));
    return shebang || entry.name.endsWith(".sh") ? [{ path, shebang }] : [];
  });
}

if (import.meta.main) {
  const python = await ensureVenv((line) => void process.stdout.write(`${line}\n`));
  const program = join(dirname(python), "shellcheck");
  const scripts = shellScripts();
  const failed = [true, false].filter((shebang) => {
    const paths = scripts
      .filter((script) => script.shebang === shebang)
      .map(({ path }) => relative(ROOT, path));
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
