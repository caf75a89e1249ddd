/** Warm sandboxes for calls without a session. Each serves one call and is removed. */
import type { Logger } from "pino";
import type { KernelConnection } from "../kernel/connection.ts";
import { HostFull } from "./admission.ts";
import type { Sandboxes } from "./sandboxes.ts";

/** Refilling begins this long after a sandbox was taken, or at the end of its call: the call has the CPU first. */
const REFILL_AFTER_MS = 250;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

export class Pool {
  readonly #sandboxes: Sandboxes;
  readonly #size: number;
  readonly #log: Logger;
  readonly #ready: KernelConnection[] = [];
  /** Sandboxes of calls that run now. */
  readonly #inUse = new Set<string>();
  /** Lost from sight when their stream broke; most likely they are still there. */
  readonly #strays = new Set<string>();
  readonly #stop = new AbortController();
  #making = false;
  #onStray: () => void = () => {};
  #timer: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;

  constructor(sandboxes: Sandboxes, size: number, log: Logger) {
    this.#sandboxes = sandboxes;
    this.#size = size;
    this.#log = log;
    sandboxes.admission.onFull(() => this.#giveWay());
  }

  get ready(): number {
    return this.#ready.length;
  }

  get inUse(): number {
    return this.#inUse.size;
  }

  /** True for every sandbox that this pool will account for. */
  owns(id: string): boolean {
    return this.#inUse.has(id) || this.#ready.some((connection) => connection.sandboxId === id);
  }

  isStray(id: string): boolean {
    return this.#strays.has(id);
  }

  /** Called when a stream broke and left a sandbox that may be adopted again. */
  onStray(listener: () => void): void {
    this.#onStray = listener;
  }

  /** A sandbox that has run nothing yet; `finish` must follow. Rejects as `Admission.create` does. */
  async take(signal: AbortSignal): Promise<KernelConnection> {
    let connection = this.#pop();
    if (connection === null) connection = await this.#sandboxes.createFresh("wanted", signal);
    else this.#sandboxes.admission.enter();
    this.#inUse.add(connection.sandboxId);
    this.#refillIn(REFILL_AFTER_MS);
    return connection;
  }

  /** The call is over: its sandbox goes. Resolves when it is gone; nobody needs to wait for that. */
  async finish(connection: KernelConnection): Promise<void> {
    connection.release();
    await this.#sandboxes.remove(connection.sandboxId);
    this.#inUse.delete(connection.sandboxId);
    this.#sandboxes.admission.leave();
    this.#refillIn(0);
  }

  /** An unused sandbox from before a restart; false when there is no room for it. */
  async adopt(id: string): Promise<boolean> {
    this.#strays.delete(id);
    if (this.#ready.length >= this.#size || this.#stop.signal.aborted) return false;
    const connection = await this.#sandboxes.attach(id);
    this.#keep(connection);
    return true;
  }

  /** Forgets strays that are not there any more. */
  keepStrays(present: ReadonlySet<string>): void {
    for (const id of this.#strays) if (!present.has(id)) this.#strays.delete(id);
  }

  /** Fills the pool in the background from now on. */
  start(): void {
    this.#refillIn(0);
  }

  /** Lets go of the streams; the sandboxes stay for the next gateway. */
  stop(): void {
    this.#stop.abort(new Error("the gateway is stopping"));
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const connection of this.#ready.splice(0)) connection.release();
  }

  #pop(): KernelConnection | null {
    for (;;) {
      const connection = this.#ready.shift();
      if (connection === undefined) return null;
      if (connection.usable) return connection;
    }
  }

  #keep(connection: KernelConnection): void {
    this.#ready.push(connection);
    void connection.ended.then((end) => {
      const index = this.#ready.indexOf(connection);
      if (index < 0) return;
      this.#ready.splice(index, 1);
      if (end.why === "violation") {
        void this.#sandboxes.remove(connection.sandboxId);
      } else {
        this.#strays.add(connection.sandboxId);
        this.#onStray();
      }
      this.#refillIn(FIRST_RETRY_MS);
    });
  }

  async #giveWay(): Promise<boolean> {
    const connection = this.#ready.pop();
    if (connection === undefined) return false;
    connection.release();
    await this.#sandboxes.remove(connection.sandboxId);
    return true;
  }

  #refillIn(ms: number): void {
    if (this.#stop.signal.aborted || this.#making) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#refill(), ms);
  }

  /** One at a time, and only while no caller waits for a sandbox of their own. */
  async #refill(): Promise<void> {
    if (this.#making || this.#ready.length >= this.#size) return;
    if (!this.#sandboxes.admission.quiet) {
      this.#refillIn(REFILL_AFTER_MS);
      return;
    }
    this.#making = true;
    let nextMs = 0;
    try {
      const connection = await this.#sandboxes.createFresh("spare", this.#stop.signal);
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#stop.signal.aborted) connection.release();
      else this.#keep(connection);
    } catch (error) {
      if (!this.#stop.signal.aborted && !(error instanceof HostFull)) {
        this.#log.warn({ err: error, retry_ms: this.#retryMs }, "pool sandbox not made");
      }
      nextMs = this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
    } finally {
      this.#making = false;
    }
    this.#refillIn(nextMs);
  }
}
