/**
 * A "machine" to deploy to by ssh: a network namespace with an address, a mount namespace with its own /run, engine
 * configuration and engine data, and a real sshd in both. What a deployment starts there runs in the same namespaces.
 */
import { execFile, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const SSH_PORT = 22;
/** Other tests, and the machine's own updates, install packages too. */
export const WAIT_FOR_APT = ["-o", "DPkg::Lock::Timeout=300"] as const;
const LISTENS_WITHIN_MS = 60_000;

/** Folders that are the machine's own. */
const OWN = [
  "/run",
  "/etc/docker",
  "/etc/kernelyard",
  "/var/lib/docker",
  "/var/lib/containerd",
  "/var/log",
  "/usr/local/share/kernelyard",
] as const;

export class Machine {
  readonly address: string;
  readonly hostKey: string;
  readonly keyFile: string;
  readonly #name: string;
  readonly #folder: string;

  private constructor(name: string, folder: string, address: string) {
    this.#name = name;
    this.#folder = folder;
    this.address = address;
    this.keyFile = join(folder, "operator");
    this.hostKey = readFileSync(join(folder, "host.pub"), "utf8").trim().split(" ").slice(0, 2).join(" ");
  }

  get namespace(): string {
    return this.#name;
  }

  /** This machine's address as the other one sees it. */
  get gateway(): string {
    return this.address.replace(/\d+$/, "1");
  }

  /** `more`: further folders that are empty there, as on a machine that nobody has touched. */
  static async start(more: readonly string[] = []): Promise<Machine> {
    if (!existsSync("/usr/sbin/sshd")) {
      const environment = { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
      await run(
        "apt-get",
        [...WAIT_FOR_APT, "install", "-q", "-y", "--no-install-recommends", "openssh-server"],
        environment,
      );
    }
    // On a disk: the engine's layers do not work on every file system that /tmp may be.
    const folder = mkdtempSync("/var/lib/kernelyard-test-machine-");
    const name = `ky${randomBytes(3).toString("hex")}`;
    // A small network of its own, unlikely to be anybody else's.
    const subnet = `10.${200 + randomInt(50)}.${randomInt(250)}`;
    for (const key of ["host", "operator"]) {
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", join(folder, key)]);
    }
    const machine = new Machine(name, folder, `${subnet}.2`);
    try {
      await machine.#network(subnet);
      await machine.#sshd([...OWN, ...more]);
    } catch (error) {
      await machine.stop();
      throw error;
    }
    return machine;
  }

  async #network(subnet: string): Promise<void> {
    const name = this.#name;
    const ip = (...args: string[]) => run("ip", args);
    await ip("netns", "add", name);
    await ip("link", "add", `${name}h`, "type", "veth", "peer", "name", "eth0", "netns", name);
    await ip("addr", "add", `${subnet}.1/24`, "dev", `${name}h`);
    await ip("link", "set", `${name}h`, "up");
    await ip("-n", name, "addr", "add", `${subnet}.2/24`, "dev", "eth0");
    await ip("-n", name, "link", "set", "eth0", "up");
    await ip("-n", name, "link", "set", "lo", "up");
    await ip("-n", name, "route", "add", "default", "via", `${subnet}.1`);
    // Builds on the machine fetch packages.
    await run("sysctl", ["-q", "-w", "net.ipv4.ip_forward=1"]);
    for (const rule of this.#rules()) await run("iptables", ["--wait", "-I", ...rule]);
  }

  /** Without `-I` or `-D`. */
  #rules(): string[][] {
    const range = this.address.replace(/\d+$/, "0/24");
    const mark = ["-m", "comment", "--comment", this.#name];
    return [
      ["POSTROUTING", "-t", "nat", "-s", range, "!", "-d", range, ...mark, "-j", "MASQUERADE"],
      ["FORWARD", "-s", range, ...mark, "-j", "ACCEPT"],
      ["FORWARD", "-d", range, ...mark, "-j", "ACCEPT"],
    ];
  }

  async #sshd(own: readonly string[]): Promise<void> {
    const config = join(this.#folder, "sshd_config");
    mkdirSync(join(this.#folder, "own"));
    writeFileSync(
      config,
      [
        `ListenAddress ${this.address}:${SSH_PORT}`,
        `HostKey ${join(this.#folder, "host")}`,
        `AuthorizedKeysFile ${join(this.#folder, "operator.pub")}`,
        "StrictModes no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        "UsePAM no",
        "MaxStartups 100",
        "MaxSessions 100",
        `PidFile ${join(this.#folder, "sshd.pid")}`,
        "",
      ].join("\n"),
    );
    const script = [
      "set -eu",
      ...own.map((path) => {
        const folder = join(this.#folder, "own", path.replaceAll("/", "_"));
        return `mkdir -p ${folder} ${path}; mount --bind ${folder} ${path}`;
      }),
      "mkdir -p /run/sshd /run/lock",
      `exec /usr/sbin/sshd -D -e -f ${config}`,
    ].join("\n");
    const child = spawn(
      "nsenter",
      [
        `--net=/run/netns/${this.#name}`,
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
      ],
      { stdio: "ignore", detached: true },
    );
    child.unref();
    await this.#untilListening(child);
  }

  async #untilListening(child: ReturnType<typeof spawn>): Promise<void> {
    const deadline = Date.now() + LISTENS_WITHIN_MS;
    const listening = () =>
      new Promise<boolean>((resolve) => {
        const socket = connect({ host: this.address, port: SSH_PORT });
        socket.on("connect", () => {
          socket.destroy();
          resolve(true);
        });
        socket.on("error", () => resolve(false));
      });
    while (!(await listening())) {
      if (child.exitCode !== null) throw new Error(`the machine's sshd ended with ${child.exitCode}`);
      if (Date.now() > deadline) throw new Error("the machine's sshd does not listen");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** A command on the machine, by ssh as an operator would. */
  async command(line: string): Promise<string> {
    const options = [
      "-o",
      "StrictHostKeyChecking=no",
      "-o",
      "UserKnownHostsFile=/dev/null",
      "-o",
      "LogLevel=ERROR",
    ];
    const { stdout } = await run("ssh", ["-i", this.keyFile, ...options, `root@${this.address}`, line], {
      timeout: 300_000,
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout;
  }

  /** Images of this machine's engine, brought to that one's: no registry can be reached from there. */
  async bringImages(names: readonly string[]): Promise<void> {
    const archive = join(this.#folder, "images.tar");
    await run("docker", ["save", "--output", archive, ...names]);
    // An engine that nobody has configured yet, only to take the images in; then it is stopped.
    await this.command(
      `setsid dockerd >/var/log/first.log 2>&1 </dev/null &
       until docker version >/dev/null 2>&1; do sleep 0.1; done
       docker load --quiet --input ${archive}
       kill "$(cat /run/docker.pid)"
       while [ -e /run/docker.pid ]; do sleep 0.1; done`,
    );
    rmSync(archive);
  }

  async stop(): Promise<void> {
    const pids = async () => {
      const { stdout } = await run("ip", ["netns", "pids", this.#name]).catch(() => ({ stdout: "" }));
      return stdout
        .split("\n")
        .filter((line) => line !== "")
        .map(Number);
    };
    const deadline = Date.now() + 20_000;
    for (let left = await pids(); left.length > 0 && Date.now() < deadline; left = await pids()) {
      for (const pid of left) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // Gone in the meantime.
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (const rule of this.#rules()) await run("iptables", ["--wait", "-D", ...rule]).catch(() => {});
    await run("ip", ["netns", "del", this.#name]).catch(() => {});
    await run("ip", ["link", "del", `${this.#name}h`]).catch(() => {});
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
