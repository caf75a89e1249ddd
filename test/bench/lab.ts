/** What rows measure with: the parts that several of them use are made once, when first asked for. */
import { Service } from "./service.ts";
import { JupyterKernel } from "./yardsticks/jupyter.ts";
import { LineProgram } from "./yardsticks/line-program.ts";
import { RawKernel } from "./yardsticks/raw-kernel.ts";

interface Stoppable {
  stop(): Promise<void>;
}

export class Lab implements AsyncDisposable {
  readonly #thoroughness: number;
  readonly #made = new Map<string, Promise<Stoppable>>();
  readonly #own = new Set<Stoppable>();

  /** `thoroughness`: 1 is everything as often as it takes for a figure; 0 is once, to see that it works. */
  constructor(thoroughness = 1) {
    this.#thoroughness = thoroughness;
  }

  /** Nothing that is measured means anything. */
  get trial(): boolean {
    return this.#thoroughness === 0;
  }

  /** How often something is done. */
  count(often: number, atLeast = 1): number {
    return Math.max(atLeast, Math.round(often * this.#thoroughness));
  }

  #once<T extends Stoppable>(name: string, make: () => Promise<T>): Promise<T> {
    const present = this.#made.get(name);
    // One name, one kind: the callers are below.
    if (present !== undefined) return present as Promise<T>;
    const made = make();
    this.#made.set(name, made);
    made.catch(() => this.#made.delete(name));
    return made;
  }

  /** With the settings' own values, but that its sessions stay awake. */
  usual(): Promise<Service> {
    return this.#once("usual", () => Service.start("ready", { KERNELYARD_SLEEP_AFTER_MS: "0" }));
  }

  raw(): Promise<RawKernel> {
    return this.#once("raw", () => RawKernel.start());
  }

  jupyter(): Promise<JupyterKernel> {
    return this.#once("jupyter", () => JupyterKernel.start());
  }

  rawStream(): Promise<LineProgram> {
    return this.#once("raw stream", () => LineProgram.start("raw_stream.py"));
  }

  /** For one row alone: stopped when `use` is over. */
  async own<T>(
    checkpoints: "ready" | "off",
    env: Record<string, string>,
    use: (service: Service) => Promise<T>,
  ): Promise<T> {
    const service = await Service.start(checkpoints, env);
    this.#own.add(service);
    try {
      return await use(service);
    } finally {
      this.#own.delete(service);
      await service.stop();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#own) await service.stop().catch(() => {});
    for (const made of [...this.#made.values()].reverse())
      await made.then((part) => part.stop()).catch(() => {});
    this.#made.clear();
  }
}
