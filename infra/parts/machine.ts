/**
 * How commands reach the machine that carries an engine: directly, or by ssh with its host key checked. Pure text, and the
 * same for every operator: what differs between them (home folder, user name) is left for their own ssh to fill in.
 */
import type { HostConfig } from "../config/values.ts";
import { commandLine, quote } from "./quote.ts";

export interface Machine {
  /** Short name, part of resource names. */
  readonly name: string;
  /** For the Docker provider and Docker's own client. */
  readonly dockerHost: string;
  readonly sshOptions: readonly string[];
  /** A command line that runs this script as root there. */
  readonly run: (script: string) => string;
  /** The same, with standard input (a certificate, for example) passed on. */
  readonly pipe: (script: string) => string;
}

export interface SshMachine extends Machine {
  /**
   * `pipe` by a connection of its own, after which the others start anew: a user's groups are those of the moment in which
   * the connection was made.
   */
  readonly prepare: (script: string) => string;
  /** Runs the script as the user that the Docker provider comes as, by a connection of its own. */
  readonly look: (script: string) => string;
}

/** The machine that runs Pulumi; the scripts run as the operator. */
export function localMachine(dockerHost: string): Machine {
  const run = (script: string) => `export DOCKER_HOST=${quote(dockerHost)}\n${script}`;
  return { name: "local", dockerHost, sshOptions: [], run, pipe: run };
}

/** `-o` before each. */
const flags = (options: readonly string[]): string[] => options.flatMap((option) => ["-o", option]);

/** Sockets of connections that several commands share: sshd drops what comes in too fast (MaxStartups). */
const SHARED = ["ControlMaster=auto", "ControlPersist=60s", "ControlPath=~/.ssh/ky-%C"];
/** ssh takes the first value it is given. */
const ALONE = ["ControlMaster=no", "ControlPath=none"];

/**
 * Only the configured host key is accepted, whatever the operator's known_hosts says: `KnownHostsCommand` (OpenSSH 8.5)
 * prints the one line (`%H` is the name that ssh looks for). The key file is read by ssh alone.
 */
export function sshMachine(host: HostConfig, keyFile: string | null): SshMachine {
  const sshOptions = flags([
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UserKnownHostsFile=none",
    "GlobalKnownHostsFile=none",
    `KnownHostsCommand=/bin/echo %H ${host.hostKey}`,
    `HostKeyAlgorithms=${host.hostKey.startsWith("ssh-rsa ") ? "rsa-sha2-512,rsa-sha2-256" : host.hostKey.split(" ")[0]}`,
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    ...(keyFile === null ? [] : [`IdentityFile=${keyFile}`, "IdentitiesOnly=yes"]),
    ...SHARED,
  ]);
  const ssh = (first: readonly string[], command: readonly string[]) => [
    ...["ssh", ...first, ...sshOptions, "-p", String(host.port), "-l", host.user],
    ...command,
  ];
  const there = (options: readonly string[], script: string) =>
    `${commandLine(ssh(flags(options), ["--", host.address]))} ${quote(script)}`;
  const asRoot = (script: string) => (host.user === "root" ? script : `sudo -n sh -c ${quote(script)}`);
  const pipe = (script: string) => there([], asRoot(script));
  const anew = `{ ${commandLine(ssh([], ["-O", "exit", "--", host.address]))} 2>/dev/null || true; }`;
  return {
    name: host.name,
    dockerHost: `ssh://${host.user}@${host.address.includes(":") ? `[${host.address}]` : host.address}:${host.port}`,
    sshOptions,
    pipe,
    run: (script) => `${pipe(script)} </dev/null`,
    prepare: (script) => `${there(ALONE, asRoot(script))} && ${anew}`,
    look: (script) => `${there(ALONE, script)} </dev/null`,
  };
}
