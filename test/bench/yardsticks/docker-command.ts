/** The engine's own command, as a service would call it that keeps nothing warm. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { RUNTIME_NAME, SHIPPED_SECCOMP_FILE } from "../../../gateway/host/isolation.ts";
import { IMAGE } from "./line-program.ts";

const run = promisify(execFile);

async function prints(args: readonly string[], expected: string): Promise<void> {
  const { stdout } = await run("docker", [...args]);
  if (stdout !== expected) throw new Error(`docker ${args[0]} printed ${stdout}`);
}

export const dockerExec = (containerId: string, code: string, expected: string): Promise<void> =>
  prints(["exec", containerId, "python3.11", "-c", code], expected);

const LIMITS = ["--memory=512m", "--cpus=0.5", "--pids-limit=1024", "--cap-drop=ALL", "--log-driver=none"];
const ISOLATION = [
  `--runtime=${RUNTIME_NAME}`,
  "--network=none",
  "--read-only",
  "--security-opt=no-new-privileges",
  `--security-opt=seccomp=${SHIPPED_SECCOMP_FILE}`,
];
const RUN = ["run", "--rm", "--tmpfs=/tmp", ...ISOLATION, ...LIMITS];

/** A container for one program, in the sandbox's image, runtime and limits. */
export const dockerRun = (program: readonly [string, ...string[]], expected: string): Promise<void> => {
  const [command, ...args] = program;
  return prints([...RUN, `--entrypoint=${command}`, IMAGE, ...args], expected);
};

/** What gVisor and the engine cost when nothing is run. */
export const emptyContainer = (): Promise<void> => dockerRun(["/bin/true"], "");
