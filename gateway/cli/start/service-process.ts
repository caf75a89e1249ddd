/** One service as a child process: started again when it dies, stopped in order. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import type { LogFile } from "./log-file.ts";

export interface ServiceOptions {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Standard output and error are appended here. */
  readonly log: LogFile;
  /** Time between SIGTERM and SIGKILL, in milliseconds. */
  readonly stopWithinMs: number;
  readonly onRestart: (name: string, how: string, delayMs: number) => void;
}

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 10_000;
/** A service that ran this long has recovered: the next delay is short again. */
const RECOVERED_AFTER_MS = 30_000;

export class ServiceProcess {
  readonly #options: ServiceOptions;
  #child: ChildProcess | null = null;
  #stopping = false;
  #delayMs = FIRST_DELAY_MS;
  #restart: NodeJS.Timeout | null = null;

  constructor(options: ServiceOptions) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const [program, ...args] = this.#options.command;
    const log = this.#options.log.open();
    // Its own process group: Ctrl-C reaches only the starter, which stops the services in order. The IPC channel
    // closes when the starter dies, however it dies; the services end themselves then.
    const child = spawn(program, args, {
      cwd: this.#options.cwd,
      env: this.#options.env,
      detached: true,
      stdio: ["ignore", log, log, "ipc"],
    });
    closeSync(log);
    const startedAt = Date.now();
    this.#child = child;
    child.on("error", () => {});
    child.on("exit", (code, signal) => {
      this.#child = null;
      if (this.#stopping) return;
      if (Date.now() - startedAt > RECOVERED_AFTER_MS) this.#delayMs = FIRST_DELAY_MS;
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      this.#options.onRestart(this.#options.name, how, this.#delayMs);
      this.#restart = setTimeout(() => this.start(), this.#delayMs);
      this.#delayMs = Math.min(this.#delayMs * 2, LONGEST_DELAY_MS);
    });
  }

  /** Ends it at once. */
  kill(): void {
    this.#child?.kill("SIGKILL");
  }

  /** SIGTERM, then SIGKILL after `stopWithinMs`. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const kill = setTimeout(() => child.kill("SIGKILL"), this.#options.stopWithinMs);
      child.once("exit", () => {
        clearTimeout(kill);
        resolve();
      });
      child.kill("SIGTERM");
    });
  }
}
