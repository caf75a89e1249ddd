/** Warm sandboxes of one profile for calls without a session. Each serves one call and is removed. */
import type { Logger } from "pino";
import type { CheckpointHealth } from "../../common/protocol/launcher-api.ts";
import type { Caller } from "../auth/principal.ts";
import { HostFull, type Place, type RoomMaker } from "./admission.ts";
import { boundsFor, COLD_HOST, Demand, UNKNOWN_HOST } from "./demand.ts";
import type { Lease } from "./lease.ts";
import type { Opened, Sandboxes } from "./sandboxes.ts";

/** Refilling begins this long after a sandbox was taken, or at the end of its call: the call has the CPU first. */
export const REFILL_AFTER_MS = 250;
/** Demand falls while nobody calls. */
export const LOOK_AGAIN_MS = 30_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

export class Pool {
  readonly profile: string;
  readonly #sandboxes: Sandboxes;
  readonly #demand: Demand;
  readonly #log: Logger;
  readonly #ready: Opened[] = [];
  /** Sandboxes of calls that run now. */
  readonly #inUse = new Set<string>();
  /** Lost from sight when their stream broke; most likely they are still there. */
  readonly #strays = new Set<string>();
  readonly #stop = new AbortController();
  readonly #fixed: boolean;
  #making = false;
  #onStray: () => void = () => {};
  #timer: NodeJS.Timeout | null = null;
  #retryMs = FIRST_RETRY_MS;

  /** `size`: how many are kept ready; `auto` follows the calls, as far as the host allows. */
  constructor(profile: string, sandboxes: Sandboxes, size: number | "auto", log: Logger) {
    this.profile = profile;
    this.#sandboxes = sandboxes;
    this.#fixed = size !== "auto";
    this.#demand = new Demand(size === "auto" ? UNKNOWN_HOST : { least: size, most: size });
    this.#log = log;
    sandboxes.admission.onFull({
      giveWay: () => this.#giveWay(),
      giveWayAhead: async () => (this.#ready.length > 0 ? "gone" : "none"),
    });
  }

  get ready(): number {
    return this.#ready.length;
  }

  get inUse(): number {
    return this.#inUse.size;
  }

  /** True for every sandbox that this pool will account for. */
  owns(id: string): boolean {
    return this.#inUse.has(id) || this.#ready.some(({ place }) => place.sandboxId === id);
  }

  isStray(id: string): boolean {
    return this.#strays.has(id);
  }

  /** Called when a stream broke and left a sandbox that may be adopted again. */
  onStray(listener: () => void): void {
    this.#onStray = listener;
  }

  /** A sandbox that has run nothing yet, and goes with the call. Rejects as `Admission.turn` and `create` do. */
  async lease(caller: Caller | null, signal: AbortSignal): Promise<Lease> {
    this.#demand.arrived(performance.now());
    const opened = await this.#openFor(caller, signal);
    const { kernel, place } = opened;
    this.#inUse.add(place.sandboxId);
    this.#refillIn(REFILL_AFTER_MS);
    // Nobody else gets this sandbox: a caller who hangs up needs no ladder.
    const hangUp = () => kernel.release();
    signal.addEventListener("abort", hangUp, { once: true });
    return {
      kernel,
      status: "new",
      waitedMs: 0,
      gaveWay: () => false,
      lostBefore: () => null,
      fate: () => this.#sandboxes.fate(place.sandboxId),
      done: () => {
        signal.removeEventListener("abort", hangUp);
        void this.#finish(opened);
      },
    };
  }

  async #openFor(caller: Caller | null, signal: AbortSignal): Promise<Opened> {
    const turn = await this.#sandboxes.admission.turn(caller, signal);
    try {
      const opened = this.#pop() ?? (await this.#sandboxes.createFresh(this.profile, turn, signal));
      opened.place.use(turn);
      return opened;
    } catch (error) {
      turn.end();
      throw error;
    }
  }

  async #finish({ kernel, place }: Opened): Promise<void> {
    kernel.release();
    await this.#sandboxes.end(place);
    this.#inUse.delete(place.sandboxId);
    this.#refillIn(0);
  }

  /** One of its own whose stream broke; false when there is no room for it. */
  async adopt(id: string): Promise<boolean> {
    if (this.#ready.length >= this.wanted || this.#stop.signal.aborted) return false;
    this.#keep(await this.#sandboxes.attach(this.#sandboxes.admission.held(id)));
    this.#strays.delete(id);
    return true;
  }

  /** What the launcher says of its host: how many sandboxes it holds, and whether they are made from checkpoints. */
  fit(capacity: number, checkpoints: CheckpointHealth["state"]): void {
    if (this.#fixed) return;
    const bounds = { on: boundsFor(capacity), preparing: UNKNOWN_HOST, off: COLD_HOST };
    if (this.#demand.bound(bounds[checkpoints])) this.#refillIn(0);
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
    for (const { kernel } of this.#ready.splice(0)) kernel.release();
  }

  /** One whose stream has just ended is left to `#keep`, which asks why. */
  #pop(): Opened | null {
    const index = this.#ready.findIndex(({ kernel }) => kernel.usable);
    return index < 0 ? null : (this.#ready.splice(index, 1)[0] ?? null);
  }

  #keep(opened: Opened): void {
    this.#ready.push(opened);
    const { kernel, place } = opened;
    void kernel.ended.then((end) => {
      const index = this.#ready.indexOf(opened);
      if (index < 0) return;
      this.#ready.splice(index, 1);
      if (end.why === "violation") {
        void this.#sandboxes.end(place);
      } else {
        this.#astray(place);
      }
      this.#refillIn(FIRST_RETRY_MS);
    });
  }

  /** Its place is taken until the launcher says that it is gone. */
  #astray({ sandboxId }: Place): void {
    this.#strays.add(sandboxId);
    this.#onStray();
  }

  /** Spare sandboxes that are to be there. */
  get wanted(): number {
    return this.#demand.wanted(performance.now());
  }

  async #giveWay(): ReturnType<RoomMaker["giveWay"]> {
    const opened = this.#ready.pop();
    if (opened === undefined) return "none";
    opened.kernel.release();
    await this.#sandboxes.end(opened.place);
    return this.#sandboxes.isDoomed(opened.place.sandboxId) ? "stays" : "gone";
  }

  #refillIn(ms: number): void {
    if (this.#stop.signal.aborted || this.#making) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#refill(), ms);
  }

  /** One at a time, and only while no caller waits for a sandbox of their own. What is too many goes as slowly. */
  async #refill(): Promise<void> {
    if (this.#making) return;
    const missing = this.wanted - this.#ready.length;
    if (missing < 0) await this.#giveWay();
    if (missing <= 0) {
      if (!this.#fixed) this.#refillIn(LOOK_AGAIN_MS);
      return;
    }
    if (!this.#sandboxes.admission.quiet) {
      this.#refillIn(REFILL_AFTER_MS);
      return;
    }
    this.#making = true;
    let nextMs = 0;
    try {
      const opened = await this.#sandboxes.createSpare(this.profile, this.#stop.signal);
      this.#retryMs = FIRST_RETRY_MS;
      if (this.#stop.signal.aborted) opened.kernel.release();
      else this.#keep(opened);
    } catch (error) {
      if (!this.#stop.signal.aborted && !(error instanceof HostFull)) {
        this.#log.warn(
          { profile: this.profile, err: error, retry_ms: this.#retryMs },
          "pool sandbox not made",
        );
      }
      nextMs = this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
    } finally {
      this.#making = false;
    }
    this.#refillIn(nextMs);
  }
}
