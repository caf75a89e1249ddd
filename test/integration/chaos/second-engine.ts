/**
 * A Docker engine of the test's own, so that killing one disturbs nobody else on the machine. It has a network namespace
 * of its own: an engine without a bridge would remove the bridge of the machine's engine.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const READY_WITHIN_MS = 60_000;

export class SecondEngine {
  readonly directory: string;
  readonly socket: string;
  readonly #namespace: string;
  #process: ChildProcess | null = null;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "ky-engine-"));
    this.socket = join(this.directory, "docker.sock");
    this.#namespace = basename(this.directory);
    execFileSync("ip", ["netns", "add", this.#namespace]);
    // The same runtimes as the machine's engine, nothing else of its configuration.
    const machine: unknown = JSON.parse(readFileSync("/etc/docker/daemon.json", "utf8"));
    const runtimes =
      typeof machine === "object" && machine !== null && "runtimes" in machine ? machine.runtimes : {};
    writeFileSync(join(this.directory, "daemon.json"), JSON.stringify({ runtimes }));
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error("the second engine does not run");
    return pid;
  }

  async start(): Promise<void> {
    const log = openSync(join(this.directory, "dockerd.log"), "a");
    this.#process = spawn(
      // Not `ip netns exec`: that hides the cgroup mounts.
      "nsenter",
      [
        `--net=/run/netns/${this.#namespace}`,
        "dockerd",
        `--config-file=${this.directory}/daemon.json`,
        `--data-root=${this.directory}/data`,
        `--exec-root=${this.directory}/exec`,
        `--pidfile=${this.directory}/docker.pid`,
        `--host=unix://${this.socket}`,
        "--bridge=none",
        "--iptables=false",
      ],
      { stdio: ["ignore", log, log] },
    );
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await this.#answers())) {
      if (this.#process.exitCode !== null || Date.now() > deadline) {
        throw new Error(
          `the second engine did not start:\n${readFileSync(join(this.directory, "dockerd.log"), "utf8")}`,
        );
      }
      await delay(100);
    }
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const ping = request({ socketPath: this.socket, path: "/_ping" }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      ping.on("error", () => resolve(false));
      ping.end();
    });
  }

  /** What it warned of since its start, for whoever looks into a failure. */
  complaints(): string {
    const log = readFileSync(join(this.directory, "dockerd.log"), "utf8").split("\n");
    return log
      .filter((line) => /level=(warning|error|fatal)/.test(line) && !line.includes("[core]"))
      .join("\n");
  }

  /** Copies an image from the machine's engine. */
  load(image: string): void {
    execFileSync("sh", ["-c", `docker save ${image} | docker -H unix://${this.socket} load`], {
      stdio: "pipe",
    });
  }

  docker(...args: string[]): string {
    return execFileSync("docker", ["-H", `unix://${this.socket}`, ...args], { encoding: "utf8" }).trim();
  }

  knows(container: string): boolean {
    const arguments_ = ["-H", `unix://${this.socket}`, "container", "inspect", container];
    const { status, stderr } = spawnSync("docker", arguments_, { encoding: "utf8" });
    if (status !== 0 && !stderr.includes("No such container")) throw new Error(stderr);
    return status === 0;
  }

  async kill(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#process;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** Ends the engine, its containerd, and everything below its directory. */
  async remove(): Promise<void> {
    await this.kill("SIGTERM");
    try {
      process.kill(
        Number(readFileSync(join(this.directory, "exec/containerd/containerd.pid"), "utf8")),
        "SIGKILL",
      );
    } catch {
      // It ended with its engine.
    }
    const mounts = readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .map((line) => line.split(" ")[1] ?? "")
      .filter((path) => path.startsWith(`${this.directory}/`))
      .reverse();
    for (const path of mounts) execFileSync("umount", ["--lazy", path]);
    execFileSync("ip", ["netns", "delete", this.#namespace]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
