/** Format, lint and types of everything written in Python here, by the settings in `pyproject.toml`. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ensureVenv } from "./venv.ts";

const HERE = join(import.meta.dirname, "..");
const SETTINGS = join(HERE, "pyproject.toml");
const HOST = join(HERE, "../gateway/host");
const YARDSTICKS = join(HERE, "../test/bench/yardsticks");
const KEEPING = join(HERE, "../gateway/cli/keeping");

const CHECKS: readonly { readonly folder: string; readonly args: readonly string[] }[] = [
  { folder: HERE, args: ["ruff", "check", "."] },
  { folder: HERE, args: ["ruff", "format", "--check", "."] },
  { folder: HERE, args: ["mypy"] },
  { folder: HOST, args: ["ruff", "check", "--config", SETTINGS, "."] },
  { folder: HOST, args: ["ruff", "format", "--check", "--config", SETTINGS, "."] },
  { folder: HOST, args: ["mypy", "--strict", "daemon_config.py"] },
  { folder: KEEPING, args: ["ruff", "check", "--config", SETTINGS, "."] },
  { folder: KEEPING, args: ["ruff", "format", "--check", "--config", SETTINGS, "."] },
  { folder: KEEPING, args: ["mypy", "--strict", "extents.py"] },
  { folder: YARDSTICKS, args: ["ruff", "check", "--config", SETTINGS, "."] },
  { folder: YARDSTICKS, args: ["ruff", "format", "--check", "--config", SETTINGS, "."] },
];

const python = await ensureVenv((line) => void process.stdout.write(`${line}\n`));
const failed = CHECKS.filter(
  ({ folder, args }) => spawnSync(python, ["-m", ...args], { cwd: folder, stdio: "inherit" }).status !== 0,
);
process.exitCode = failed.length === 0 ? 0 : 1;
