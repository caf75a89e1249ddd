/** `npm start` as its user meets it: on a data directory and port of its own, ended by Ctrl-C, leaving nothing. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";

const ROOT = join(import.meta.dirname, "../..");
/** The last line of what is printed. */
const READY = "Ctrl-C stops it";

export const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8" }).trim();

export class Started {
  readonly child: ChildProcess;
  #output = "";

  constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
  }

  get output(): string {
    return this.#output;
  }

  /** All that was printed, once it is ready; throws it when it ends before. */
  async ready(): Promise<string> {
    const { child } = this;
    while (!this.#output.includes(READY)) {
      if (child.exitCode !== null) throw new Error(`npm start ended:\n${this.#output}`);
      if (child.stdout === null) throw new Error("no output");
      await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
    }
    return this.#output;
  }

  /** Ctrl-C: the terminal sends SIGINT to the whole foreground group. */
  async interrupt(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const gone = once(child, "exit");
    process.kill(-child.pid, "SIGINT");
    await gone;
  }
}

export class StartPlace {
  readonly dataDir: string;
  readonly port: number;
  readonly #started: Started[] = [];

  private constructor(dataDir: string, port: number) {
    this.dataDir = dataDir;
    this.port = port;
  }

  static async make(): Promise<StartPlace> {
    const dataDir = mkdtempSync(join(tmpdir(), "ky-start-"));
    chmodSync(dataDir, 0o755);
    return new StartPlace(dataDir, await freePort());
  }

  /** `command`: as a person types it in the checkout. */
  start(env: NodeJS.ProcessEnv = {}, command = "npm start"): Started {
    const started = new Started(
      spawn("sh", ["-c", `exec env ${command}`], {
        cwd: ROOT,
        env: {
          ...process.env,
          KERNELYARD_DATA_DIR: this.dataDir,
          KERNELYARD_PORT: String(this.port),
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      }),
    );
    this.#started.push(started);
    return started;
  }

  /** Ends what runs; data and keys stay for the next start. */
  async stop(): Promise<void> {
    for (const started of this.#started.splice(0)) await started.interrupt();
  }

  /** The label of its containers and volumes; null before the first start. */
  get instance(): string | null {
    try {
      return readFileSync(join(this.dataDir, "instance"), "utf8").trim();
    } catch {
      return null;
    }
  }

  async remove(): Promise<void> {
    await this.stop();
    const { instance } = this;
    if (instance !== null) {
      const volumes = docker("volume", "ls", "-q", "--filter", `label=kernelyard.instance=${instance}`);
      if (volumes !== "") docker("volume", "rm", ...volumes.split("\n"));
    }
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
