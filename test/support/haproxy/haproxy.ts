/** A real HAProxy on loopback. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const READY_MS = 30_000;

function program(): string {
  return execFileSync("bash", [join(import.meta.dirname, "haproxy.sh")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }).trim();
}

/** What HAProxy says of a configuration; empty: it takes it, and has no word of warning. */
export function findings(configuration: string): string {
  const directory = mkdtempSync(join(tmpdir(), "ky-haproxy-"));
  try {
    const file = join(directory, "haproxy.cfg");
    writeFileSync(file, configuration);
    const checked = spawnSync(program(), ["-c", "-f", file], { encoding: "utf8" });
    const said = `${checked.stdout}${checked.stderr}`.replace("Configuration file is valid\n", "");
    return checked.status === 0 ? said : `ended with ${checked.status}: ${said}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export class Haproxy {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #file: string;

  private constructor(directory: string, configuration: string) {
    this.#directory = directory;
    this.#file = join(directory, "haproxy.cfg");
    writeFileSync(this.#file, configuration);
    // As the entry's image starts it.
    this.#child = spawn(program(), ["-W", "-f", this.#file], { stdio: "ignore" });
  }

  /** Until `ready` says so. */
  static async start(configuration: string, ready: () => Promise<boolean>): Promise<Haproxy> {
    const haproxy = new Haproxy(mkdtempSync(join(tmpdir(), "ky-haproxy-")), configuration);
    const before = performance.now() + READY_MS;
    while (!(await ready().catch(() => false))) {
      if (haproxy.#child.exitCode !== null || performance.now() > before) {
        await haproxy.stop();
        throw new Error("HAProxy does not serve");
      }
      await delay(20);
    }
    while (!haproxy.#takesSignals()) await delay(20);
    return haproxy;
  }

  /** Its master has become the one that waits (a second program of its own); a signal before that may be lost. */
  #takesSignals(): boolean {
    const about = (file: string) => readFileSync(`/proc/${this.#child.pid}/${file}`, "utf8");
    const has = (mask: string) => {
      const [, bits = "0"] = new RegExp(`^${mask}:\\s*(\\w+)$`, "m").exec(about("status")) ?? [];
      return (BigInt(`0x${bits}`) >> BigInt(constants.signals.SIGUSR2 - 1)) & 1n;
    };
    return (
      about("environ").includes("HAPROXY_MWORKER_WAIT_ONLY=1") && has("SigCgt") === 1n && has("SigBlk") === 0n
    );
  }

  /** As the deployment gives it another one. */
  reload(configuration: string): void {
    writeFileSync(this.#file, configuration);
    this.#child.kill("SIGUSR2");
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
