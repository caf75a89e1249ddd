/**
 * A "machine" to deploy to by ssh: a network namespace with an address; processes of its own; a root of its own, which is
 * this one's with all changes kept apart; a real sshd in them, with its limits as they come; a user who is not root, when
 * asked for. What a deployment starts there runs in the same namespaces. In place of systemd a shim starts the engine as the
 * distribution's unit does, and at a boot what was enabled.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const SSH_PORT = 22;
/** Other tests, and the machine's own updates, install packages too. */
export const WAIT_FOR_APT = ["-o", "DPkg::Lock::Timeout=300"] as const;
const LISTENS_WITHIN_MS = 60_000;

/** Folders that start empty there: nobody has made it a host yet. */
const EMPTY = [
  "/etc/docker",
  "/etc/kernelyard",
  "/usr/local/share/kernelyard",
  "/etc/systemd/system",
  "/root/.docker",
] as const;
/** Folders that must be on a disk, not on a file system over another one. */
const ON_DISK = ["/var/lib/docker", "/var/lib/containerd"] as const;

const SYSTEMCTL = `#!/bin/bash
# The engine's unit alone: as Debian has it, or as Amazon Linux does, with options of its own.
enabled=/etc/systemd/enabled-docker
pid() { local p; p=$(cat /run/docker.pid 2>/dev/null) && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = dockerd ] && echo "$p"; }
ready() { curl -fsS --max-time 5 --unix-socket /run/docker.sock http://engine/_ping >/dev/null 2>&1; }
start() {
  [ -z "$(pid)" ] || return 0
  rm -f /run/docker.pid
  [ ! -r /etc/sysconfig/docker ] || . /etc/sysconfig/docker
  setsid /usr/bin/env dockerd $OPTIONS >>/var/log/dockerd.log 2>&1 </dev/null &
  for _ in $(seq 300); do ready && return 0; sleep 0.2; done
  return 1
}
stop() { local p; p=$(pid) || return 0; kill "$p"; while [ -e "/proc/$p" ]; do sleep 0.1; done; }
action=$1
shift
now=
for word in "$@"; do [ "$word" != --now ] || now=yes; done
case $action in
  cat) [ "\${1%.service}" = docker ] ;;
  enable) touch "$enabled"; [ -z "$now" ] || start ;;
  is-enabled) [ -e "$enabled" ] ;;
  is-active) [ -n "$(pid)" ] ;;
  start) start ;;
  restart) stop; start ;;
  stop) stop ;;
  reload) kill -HUP "$(pid)" ;;
  boot) [ ! -e "$enabled" ] || start ;;
  *) echo "systemctl $action is not known here" >&2; exit 1 ;;
esac
`;
/** As Amazon's package brings it; where nobody may raise this process's own limit (no CAP_SYS_RESOURCE), no more than that. */
export const AMAZON_ULIMIT = `--default-ulimit nofile=${atMost(32_768)}:${atMost(65_536)}`;

function atMost(files: number): number {
  const hard = /^Max open files +\S+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return Math.min(files, Number(hard));
}

export interface MachineOptions {
  /** Who logs in; not root: somebody with password-free sudo, and no other right. */
  readonly user?: "root" | "deployer";
  /** Its engine has options on its command line. */
  readonly amazon?: boolean;
  /** Further folders that start empty. */
  readonly empty?: readonly string[];
}

export class Machine {
  readonly address: string;
  readonly hostKey: string;
  readonly keyFile: string;
  readonly user: "root" | "deployer";
  readonly #name: string;
  readonly #folder: string;
  #power: ChildProcess | null = null;

  private constructor(name: string, folder: string, address: string, user: "root" | "deployer") {
    this.#name = name;
    this.#folder = folder;
    this.address = address;
    this.user = user;
    this.keyFile = join(folder, "shared", "operator");
    this.hostKey = readFileSync(join(folder, "host.pub"), "utf8").trim().split(" ").slice(0, 2).join(" ");
  }

  get namespace(): string {
    return this.#name;
  }

  /** This machine's address as the other one sees it. */
  get gateway(): string {
    return this.address.replace(/\d+$/, "1");
  }

  /** A folder that has the same path and content here and there. */
  get shared(): string {
    return join(this.#folder, "shared");
  }

  /** Of who deploys. */
  get publicKey(): string {
    return readFileSync(`${this.keyFile}.pub`, "utf8").trim();
  }

  /** As an entry of a stack's `hosts`. */
  entry(name: string): Readonly<Record<string, string>> {
    return { name, address: this.address, user: this.user, hostKey: this.hostKey };
  }

  static async start(options: MachineOptions = {}): Promise<Machine> {
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
    chmodSync(folder, 0o755);
    const name = `ky${randomBytes(3).toString("hex")}`;
    // A small network of its own, unlikely to be anybody else's.
    const subnet = `10.${200 + randomInt(50)}.${randomInt(250)}`;
    const user = options.user ?? "root";
    for (const part of ["upper", "work", "root", "shared", "disk"]) mkdirSync(join(folder, part));
    for (const key of ["host", "shared/operator"]) {
      await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", join(folder, key)]);
    }
    const machine = new Machine(name, folder, `${subnet}.2`, user);
    try {
      await machine.#network(subnet);
      await machine.#install(options);
      await machine.#boot();
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
    // Builds on the machine fetch packages; machines of one stack reach each other.
    await run("sysctl", ["-q", "-w", "net.ipv4.ip_forward=1"]);
    for (const rule of this.#rules()) await run("iptables", ["--wait", "-I", ...rule]);
  }

  /** Without `-I` or `-D`. */
  #rules(): string[][] {
    const range = this.address.replace(/\d+$/, "0/24");
    const mark = ["-m", "comment", "--comment", this.#name];
    return [
      // Other machines of the tests see each other's own addresses.
      ["POSTROUTING", "-t", "nat", "-s", range, "!", "-o", "ky+", ...mark, "-j", "MASQUERADE"],
      ["FORWARD", "-s", range, ...mark, "-j", "ACCEPT"],
      ["FORWARD", "-d", range, ...mark, "-j", "ACCEPT"],
    ];
  }

  /** Commands that enter the machine's namespaces and root; the last one is `last`. */
  #inside(last: string): string {
    const root = join(this.#folder, "root");
    const at = (path: string) => join(this.#folder, path);
    return [
      "set -eu",
      "mount --make-rprivate /",
      `mount -t overlay overlay -o lowerdir=/,upperdir=${at("upper")},workdir=${at("work")} ${root}`,
      `mount -t proc proc ${root}/proc`,
      ...["sys", "dev"].map((name) => `mount --rbind /${name} ${root}/${name}`),
      ...["run", "tmp"].map((name) => `mount -t tmpfs -o mode=1777 tmpfs ${root}/${name}`),
      `mkdir -p ${root}/run/sshd ${root}/run/lock ${root}/run/systemd/system`,
      ...[...ON_DISK].map((path) => {
        const disk = at(`disk/${path.replaceAll("/", "_")}`);
        return `mkdir -p ${disk} ${root}${path}; mount --bind ${disk} ${root}${path}`;
      }),
      `mkdir -p ${root}${this.shared}; mount --bind ${this.shared} ${root}${this.shared}`,
      `mkdir -p ${root}/.old; cd ${root}; pivot_root . .old; umount -l .old`,
      `exec chroot . ${last}`,
    ].join("\n");
  }

  /** Whoever ends the first process of the namespaces ends them all. */
  #enter(last: string): [string, string[]] {
    const namespaces = ["--mount", "--pid", "--fork", "--kill-child"];
    return [
      "nsenter",
      [`--net=/run/netns/${this.#name}`, "unshare", ...namespaces, "sh", "-c", this.#inside(last)],
    ];
  }

  /** What the machine has before anybody deploys to it. */
  async #install(options: MachineOptions): Promise<void> {
    const sshd = [
      `ListenAddress ${this.address}:${SSH_PORT}`,
      "HostKey /etc/ssh/machine_key",
      "AuthorizedKeysFile /etc/ssh/machine_authorized",
      "StrictModes no",
      "PasswordAuthentication no",
      "PermitRootLogin prohibit-password",
      "UsePAM no",
      "PidFile /run/sshd.pid",
      "",
    ].join("\n");
    const shared = (name: string, content: string | Buffer) =>
      writeFileSync(join(this.shared, name), content);
    shared("sshd_config", sshd);
    shared("host", readFileSync(join(this.#folder, "host")));
    shared("systemctl", SYSTEMCTL);
    const empty = [...EMPTY, ...(options.empty ?? [])];
    const script = [
      "set -eu",
      ...empty.map((path) => `rm -rf ${path}; mkdir -p ${path}`),
      `install -m 600 ${this.shared}/host /etc/ssh/machine_key`,
      `install -m 644 ${this.shared}/operator.pub /etc/ssh/machine_authorized`,
      `install -m 644 ${this.shared}/sshd_config /etc/ssh/machine_config`,
      `install -m 755 ${this.shared}/systemctl /usr/bin/systemctl`,
      ...(options.amazon === true
        ? [`mkdir -p /etc/sysconfig; echo 'OPTIONS="${AMAZON_ULIMIT}"' >/etc/sysconfig/docker`]
        : []),
      ...(this.user === "root" ? [] : this.#operator()),
      `rm ${this.shared}/host`,
    ].join("\n");
    const [program, args] = this.#enter(`sh -c ${quoted(script)}`);
    await run(program, args, { timeout: 600_000, maxBuffer: 16 * 1024 * 1024 });
  }

  #operator(): string[] {
    return [
      `command -v sudo >/dev/null || { export DEBIAN_FRONTEND=noninteractive; apt-get ${WAIT_FOR_APT.join(" ")} install -q -y --no-install-recommends sudo || { apt-get update -q; apt-get install -q -y --no-install-recommends sudo; }; } >/tmp/apt.log 2>&1 || { tail -n 20 /tmp/apt.log >&2; exit 1; }`,
      "useradd --create-home --shell /bin/bash deployer",
      // Without a password, and not locked.
      "usermod -p '*' deployer",
      "echo 'deployer ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/deployer",
    ];
  }

  async #boot(): Promise<void> {
    // A shell that waits buries the dead, as an init does.
    const init = "systemctl boot; /usr/sbin/sshd -D -e -f /etc/ssh/machine_config & wait $!";
    const [program, args] = this.#enter(`bash -c ${quoted(init)}`);
    const child = spawn(program, args, { stdio: "ignore" });
    this.#power = child;
    await this.#untilListening(child);
  }

  /** The power goes, and comes back. */
  async reboot(): Promise<void> {
    await this.#end();
    for (const table of ["filter", "nat"]) {
      for (const action of ["-F", "-X"])
        await run("nsenter", [`--net=/run/netns/${this.#name}`, "iptables", "-t", table, action]);
    }
    await this.#boot();
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

  /** A command on the machine as root, by ssh. */
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
    const archive = join(this.shared, "images.tar");
    await run("docker", ["save", "--output", archive, ...names], { timeout: 300_000 });
    // An engine that nobody has configured yet runs only to take them in.
    await this.command(
      `began=
       if ! docker version >/dev/null 2>&1; then
         began=yes
         setsid dockerd >/var/log/first.log 2>&1 </dev/null &
         until docker version >/dev/null 2>&1; do sleep 0.1; done
       fi
       docker load --quiet --input ${archive}
       [ -n "$began" ] || exit 0
       kill "$(cat /run/docker.pid)"
       while [ -e /run/docker.pid ]; do sleep 0.1; done`,
    );
    rmSync(archive);
  }

  /** As when the power fails. */
  async #end(): Promise<void> {
    const child = this.#power;
    this.#power = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const [init = ""] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ");
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    // The first process is the last to go.
    const deadline = Date.now() + 60_000;
    while (init !== "" && existsSync(`/proc/${init}`) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async stop(): Promise<void> {
    await this.#end();
    for (const rule of this.#rules()) await run("iptables", ["--wait", "-D", ...rule]).catch(() => {});
    await run("ip", ["netns", "del", this.#name]).catch(() => {});
    await run("ip", ["link", "del", `${this.#name}h`]).catch(() => {});
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
