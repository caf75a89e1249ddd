/**
 * The engine that a build uses, for this process and the `docker` commands that it starts: the operator's own, one behind a
 * socket, or another machine's by ssh with the options that the deployment gives.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BuildMachine,
  buildMachine,
  type MachineView,
  settingsFiles,
} from "../../sandbox-image/tools/build-machine.ts";
import { mustRun, runCommand } from "../../sandbox-image/tools/command.ts";
import { thisMachine } from "../../sandbox-image/tools/this-machine.ts";
import type { ImageOrder } from "./image-order.ts";
import { quote } from "./quote.ts";

const SHORT_MS = 60_000;

export interface EnginePlace {
  /** Another machine than this one. */
  readonly remote: boolean;
  /** What a build takes from the machine that the engine runs on. */
  readonly machine: () => Promise<BuildMachine>;
  readonly end: () => void;
}

export async function enginePlace(engine: ImageOrder["engine"]): Promise<EnginePlace> {
  // The deployment names the engine; what this shell has set up for `npm start` does not count.
  delete process.env.KERNELYARD_DOCKER_SOCKET;
  // Images are for the machine that builds, or for the CPU that the order names; not for what suits this operator's.
  delete process.env.DOCKER_DEFAULT_PLATFORM;
  const here = { remote: false, machine: async () => thisMachine(), end: () => {} };
  if (engine === null) {
    // Clients that are given a configuration of their own would not know the operator's choice.
    process.env.DOCKER_HOST ??= await chosenHost();
    return here;
  }
  process.env.DOCKER_HOST = engine.host;
  if (!engine.host.startsWith("ssh://")) return here;
  const { host } = engine;
  const ssh = ["ssh", ...engine.sshOptions];
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-ssh-"));
  // Docker's client takes `ssh` from PATH and knows no options for it.
  const path = (
    await mustRun("Looking for ssh", "sh", ["-c", "command -v ssh"], { timeoutMs: SHORT_MS })
  ).trim();
  const options = engine.sshOptions.map(quote).join(" ");
  writeFileSync(join(folder, "ssh"), `#!/bin/sh\nexec ${quote(path)} ${options} "$@"\n`, { mode: 0o755 });
  process.env.PATH = `${folder}:${process.env.PATH}`;
  return {
    remote: true,
    machine: async () => buildMachine(await viewOf(ssh, host)),
    end: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Of the context that the operator's `docker` command uses. */
async function chosenHost(): Promise<string | undefined> {
  const format = "{{.Endpoints.docker.Host}}";
  const said = await runCommand("docker", ["context", "inspect", "--format", format], {
    timeoutMs: SHORT_MS,
  });
  return said.code === 0 && said.stdout.trim() !== "" ? said.stdout.trim() : undefined;
}

/** A line for each file, and one for each proxy that apt was told. */
const LOOK = `
for file in $FILES; do
  case $file in '~'/*) path=$HOME/\${file#??} ;; *) path=$file ;; esac
  if [ -f "$path" ] && [ -r "$path" ]; then printf '%s %s\\n' "$file" "$(base64 <"$path" | tr -d '\\n')"; fi
done
for scheme in http https; do
  proxy=
  eval "$(apt-config shell proxy "Acquire::$scheme::Proxy" 2>/dev/null)" || true
  printf '%s %s\\n' "$scheme" "$proxy"
done
`;

/** Where packages come from is the company's matter, and the same from everywhere; paths of this machine are not. */
const SHARED = [
  "PIP_INDEX_URL",
  "PIP_EXTRA_INDEX_URL",
  "PIP_TRUSTED_HOST",
  "npm_config_registry",
  "NPM_CONFIG_REGISTRY",
];

async function viewOf(ssh: readonly string[], host: string): Promise<MachineView> {
  const [program = "ssh", ...options] = ssh;
  const env = Object.fromEntries(SHARED.map((name) => [name, process.env[name]]));
  const files = settingsFiles({}, "~").filter((path) => !path.includes(" "));
  const script = `FILES=${quote(files.join(" "))}\n${LOOK}`;
  const said = await mustRun(
    "Looking at the machine that builds",
    program,
    [...options, host, `sh -c ${quote(script)}`],
    { timeoutMs: SHORT_MS },
  );
  const lines = new Map(
    said.split("\n").map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]),
  );
  return {
    env,
    home: "~",
    read: (path) => {
      const text = lines.get(path);
      return text === undefined ? null : Buffer.from(text, "base64").toString("utf8");
    },
    aptProxy: (scheme) => lines.get(scheme) ?? null,
  };
}
