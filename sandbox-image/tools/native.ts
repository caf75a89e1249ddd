/** The sandbox's own programs (`native/`), built for a directory of this machine instead of the image. */
import { join } from "node:path";
import { mustRun, runCommand } from "./command.ts";
import { ROOM } from "./room.ts";

const BUILD_TIMEOUT_MS = 120_000;
const INSTALL_TIMEOUT_MS = 600_000;

export interface NativeTarget {
  /** Where `python3`, `kernel` and `run_main.so` are put. */
  readonly directory: string;
  /** The interpreter that `python3` hands over to. */
  readonly realPython: string;
  /** Names among abstract sockets: one supervisor's own. */
  readonly pythonSocket: string;
  readonly kernelSocket: string;
}

async function ensureCompiler(): Promise<void> {
  const there = async () => (await runCommand("gcc", ["--version"], { timeoutMs: 30_000 })).code === 0;
  if (await there()) return;
  if (process.getuid?.() === 0) {
    const options = {
      timeoutMs: INSTALL_TIMEOUT_MS,
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    };
    await runCommand("apt-get", ["update", "-q"], options);
    await runCommand(
      "apt-get",
      ["install", "-q", "-y", "--no-install-recommends", "gcc", "libc6-dev"],
      options,
    );
    if (await there()) return;
  }
  throw new Error(
    "The sandbox's own programs are built with gcc, which is missing: apt-get install gcc libc6-dev",
  );
}

export async function buildNative(target: NativeTarget): Promise<void> {
  await ensureCompiler();
  const { directory, realPython, pythonSocket, kernelSocket } = target;
  await mustRun(
    "Building the sandbox's own programs",
    "sh",
    [join(ROOM, "native", "build.sh"), directory, realPython, pythonSocket, kernelSocket],
    { timeoutMs: BUILD_TIMEOUT_MS },
  );
}
