/** How commands reach the machine that carries an engine: directly, or by ssh with its host key checked. Pure text. */
import type { HostConfig } from "../config/values.ts";
import { commandLine, quote } from "./quote.ts";

export interface Machine {
  /** Short name, part of resource names. */
  readonly name: string;
  /** For the Docker provider. */
  readonly dockerHost: string;
  readonly sshOptions: readonly string[];
  /** A command line that runs this script as root there. */
  readonly run: (script: string) => string;
  /** The same, with standard input (a tar stream, for example) passed on. */
  readonly pipe: (script: string) => string;
}

/** The machine that runs Pulumi; the scripts run as the operator. */
export function localMachine(dockerHost: string): Machine {
  const run = (script: string) => `export DOCKER_HOST=${quote(dockerHost)}\n${script}`;
  return { name: "local", dockerHost, sshOptions: [], run, pipe: run };
}

const expandHome = (path: string, home: string) => path.replace(/^~(?=\/|$)/, home);

/**
 * Only the configured host key is accepted, whatever the operator's known_hosts says: `KnownHostsCommand` prints the
 * one line (`%H` is the name that ssh looks for). The key file is read by ssh alone.
 */
export function sshMachine(host: HostConfig, keyFile: string | null, home: string): Machine {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UserKnownHostsFile=none",
    "GlobalKnownHostsFile=none",
    `KnownHostsCommand=/bin/echo %H ${host.hostKey}`,
    `HostKeyAlgorithms=${host.hostKey.startsWith("ssh-rsa ") ? "rsa-sha2-512,rsa-sha2-256" : host.hostKey.split(" ")[0]}`,
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    ...(keyFile === null ? [] : ["IdentitiesOnly=yes"]),
  ].flatMap((option) => ["-o", option]);
  const sshOptions = keyFile === null ? options : ["-i", expandHome(keyFile, home), ...options];
  const login = ["ssh", ...sshOptions, "-p", String(host.port), "-l", host.user, "--", host.address];
  const asRoot = (script: string) => (host.user === "root" ? script : `sudo -n sh -c ${quote(script)}`);
  const pipe = (script: string) => `${commandLine(login)} ${quote(asRoot(script))}`;
  return {
    name: host.name,
    dockerHost: `ssh://${host.user}@${host.address.includes(":") ? `[${host.address}]` : host.address}:${host.port}`,
    sshOptions,
    run: (script) => `${pipe(script)} </dev/null`,
    pipe,
  };
}
