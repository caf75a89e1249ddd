/**
 * Places for sandboxes: how many are made at once, who may have how many, and what happens when the host's memory is
 * spoken for. The launcher counts the memory; this side decides who gives way and who waits.
 */
import type { CreateSandbox, Sandbox } from "../../common/protocol/launcher-api.ts";
import { type LauncherClient, LauncherRefusal } from "../../common/protocol/launcher-client.ts";
import type { Caller } from "../auth/principal.ts";
import { askedToGive, type From, mostOf, placesForCallers } from "./shares.ts";

export type { From } from "./shares.ts";

export interface AdmissionOptions {
  readonly launcher: Pick<LauncherClient, "create">;
  /** Sandboxes that are made at the same time; each costs a third of a second of one CPU, or two without checkpoints. */
  readonly concurrency: number;
  /** How long a call waits for a running call to end, when there is no place for it. */
  readonly waitMs: number;
}

/** A call that may run now, before it has a sandbox. Whoever has it uses it for a place, or ends it. */
export interface Turn {
  /** Null: the service itself, which counts for nobody. */
  readonly caller: Caller | null;
  /** `performance.now()` until which it waits for a place. */
  readonly deadline: number;
  end(): void;
}

/** One sandbox's share of the host, until the sandbox is gone. Whoever holds a place answers for its sandbox. */
export interface Place {
  readonly sandboxId: string;
  /** A call runs here from now on. */
  use(turn: Turn): void;
  /** The call is over and the sandbox stays: it may be asked to give way. */
  rest(): void;
  /** The sandbox is gone: whoever waits for a place tries again. */
  leave(): void;
}

/** A sandbox that was made, and its place. */
export interface Admitted {
  readonly sandbox: Sandbox;
  readonly place: Place;
}

/** Who has sandboxes that are needed less. Each answers: one is gone, there is `none`, or it `stays` because removals fail. */
export interface RoomMaker {
  /** Somebody waits for a place. */
  giveWay(from: From): Promise<"gone" | "none" | "stays">;
  /** Somebody may come to wait: one sleeps if it can, none ends. What could go in no time is as good as gone. */
  giveWayAhead(from: From): Promise<"gone" | "none" | "stays">;
}

/** Every place of the host is taken by a running call. */
export class HostFull extends Error {
  override readonly name = "HostFull";
}

/** This caller runs as many calls as one may. */
export class CallerFull extends Error {
  override readonly name = "CallerFull";
  readonly most: number;

  constructor(most: number) {
    super(`One caller may run ${most} calls at a time`);
    this.most = most;
  }
}

/**
 * What counts: a call that has no sandbox yet (`waiting`), a sandbox that the launcher makes (its memory is spoken for),
 * one in which a call runs, one that is there.
 */
interface Seat {
  caller: Caller | null;
  /** Null until the launcher has made its sandbox. */
  place: Place | null;
  state: "waiting" | "making" | "busy" | "resting";
}

/** It has a place, and comes to be made when others are. */
interface WaitingToMake {
  readonly caller: Caller | null;
  readonly go: () => void;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #turns = new Set<WaitingToMake>();
  readonly #changed = new Set<() => void>();
  readonly #givers: RoomMaker[] = [];
  readonly #seats = new Set<Seat>();
  #capacity = Number.POSITIVE_INFINITY;
  #creating = 0;
  /** Room that is being made before anybody waits for it; null once somebody does. */
  #ahead: Promise<unknown> | null = null;
  /** Within `create`, also between two attempts: room that is made for them is not for a spare sandbox. */
  #callers = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Who is asked to give way, in the order in which they came. */
  onFull(giver: RoomMaker): void {
    this.#givers.push(giver);
  }

  /** Sandboxes that fit on this host, as the launcher says. */
  set capacity(sandboxes: number) {
    this.#capacity = sandboxes;
  }

  /** True when making a spare sandbox now would keep no caller waiting. */
  get quiet(): boolean {
    return this.#creating === 0 && this.#callers === 0;
  }

  /** Calls run in every place that callers have. */
  get full(): boolean {
    return this.#count(serving) >= this.#forCallers;
  }

  /** Places in which no call runs. */
  get free(): number {
    return Math.max(0, this.#forCallers - this.#count(serving));
  }

  /** Places in which a call runs, or for which one is being made. */
  get busy(): number {
    return this.#count(serving);
  }

  /** Calls that have no place yet. */
  get waiting(): number {
    return this.#count(({ state }) => state === "waiting");
  }

  /** The place of a sandbox that is there already: a new one, which nobody uses, unless it has one. */
  held(sandboxId: string): Place {
    for (const { place } of this.#seats) if (place?.sandboxId === sandboxId) return place;
    return this.#place(sandboxId, this.#sit(null, "resting"));
  }

  /** The sandboxes that have a place. */
  get sandboxIds(): ReadonlySet<string> {
    return new Set([...this.#seats].flatMap(({ place }) => place?.sandboxId ?? []));
  }

  /** Sandboxes that ended by themselves leave their places, whoever holds those. */
  leaveAll(gone: ReadonlySet<string>): void {
    for (const { place } of [...this.#seats]) if (place !== null && gone.has(place.sandboxId)) place.leave();
  }

  /** Waits while this caller runs as many calls as one may. Rejects with `CallerFull` or the signal's reason. */
  async turn(caller: Caller | null, signal: AbortSignal): Promise<Turn> {
    const deadline = performance.now() + this.#options.waitMs;
    while (caller !== null && this.#calls(caller) >= this.#mostOf(caller)) {
      const left = deadline - performance.now();
      if (left <= 0) throw new CallerFull(this.#mostOf(caller));
      await this.#nextChange(left, signal);
    }
    const seat = this.#sit(caller, "waiting");
    return { caller, deadline, end: () => this.#rise(seat) };
  }

  /**
   * A new sandbox for this call, which is still to `use` it. `begins`: for a session that had none before. Rejects with
   * `HostFull`, `LauncherRefusal`, `LauncherUnavailable`, or the signal's reason.
   */
  async create(spec: CreateSandbox, turn: Turn, signal: AbortSignal, begins = false): Promise<Admitted> {
    this.#callers += 1;
    try {
      return await this.#create(spec, turn, signal, begins);
    } finally {
      this.#callers -= 1;
    }
  }

  /** For the pool: one attempt, nobody gives way. */
  async createSpare(spec: CreateSandbox, signal: AbortSignal): Promise<Place> {
    const made = this.#fits(false) ? await this.#attempt(spec, null, signal) : null;
    if (made === null) throw new HostFull("The host's places are taken");
    made.place.rest();
    return made.place;
  }

  #mostOf(caller: Caller): number {
    return mostOf(this.#forCallers, caller);
  }

  get #forCallers(): number {
    return placesForCallers(this.#capacity);
  }

  /** Beside those that are taken; the service's own place is nobody else's, whatever the launcher has left. */
  #fits(own: boolean): boolean {
    return own || this.#count(taken) < this.#forCallers;
  }

  #calls(caller: Caller): number {
    return this.#count((seat) => isOf(seat, caller) && (seat.state === "waiting" || seat.state === "busy"));
  }

  #sit(caller: Caller | null, state: Seat["state"]): Seat {
    const seat: Seat = { caller, place: null, state };
    this.#seats.add(seat);
    return seat;
  }

  #rise(seat: Seat): void {
    if (this.#seats.delete(seat)) this.#wake();
  }

  /** Whoever waits looks again. */
  #wake(): void {
    for (const wake of [...this.#changed]) wake();
  }

  #place(sandboxId: string, seat: Seat): Place {
    const place: Place = {
      sandboxId,
      use: (turn) => {
        seat.caller = turn.caller;
        seat.state = "busy";
        turn.end();
      },
      rest: () => {
        seat.state = "resting";
        this.#wake();
      },
      leave: () => this.#rise(seat),
    };
    seat.place = place;
    return place;
  }

  #count(which: (seat: Seat) => boolean): number {
    let count = 0;
    for (const seat of this.#seats) if (which(seat)) count += 1;
    return count;
  }

  async #create(spec: CreateSandbox, turn: Turn, signal: AbortSignal, begins: boolean): Promise<Admitted> {
    const { caller, deadline } = turn;
    for (;;) {
      const attempt = this.#fits(caller === null) ? this.#attempt(spec, caller, signal) : null;
      if (attempt !== null && begins && caller !== null) this.#goAhead();
      const made = await attempt;
      if (made !== null) return made;
      const ahead = this.#ahead;
      if (ahead !== null) {
        this.#ahead = null;
        await ahead;
        continue;
      }
      if (await this.#makeRoom(caller)) continue;
      const left = deadline - performance.now();
      if (left <= 0 || this.#count(serving) === 0) {
        // Who waits for this very call must not wait in vain.
        this.#wake();
        throw new HostFull("The host's places are taken");
      }
      await this.#nextChange(left, signal);
    }
  }

  /** Who begins in the last place may not be the only one: the next one should not wait until a session is saved. */
  #goAhead(): void {
    if (this.#ahead !== null || this.#fits(false)) return;
    const ahead = this.#makeRoom(null, "giveWayAhead").finally(() => {
      if (this.#ahead === ahead) this.#ahead = null;
    });
    this.#ahead = ahead;
  }

  async #makeRoom(caller: Caller | null, how: keyof RoomMaker = "giveWay"): Promise<boolean> {
    const hasShare = (holder: Caller) =>
      this.#count((seat) => taken(seat) && isOf(seat, holder)) >= this.#mostOf(holder);
    for (const from of askedToGive(caller, hasShare)) {
      for (const giver of this.#givers) {
        const given = await giver[how](from);
        // What does not go in one case would not in the next, and its variables would be lost for nothing.
        if (given !== "none") return given === "gone";
      }
    }
    return false;
  }

  /** Null when the host is full. */
  async #attempt(spec: CreateSandbox, caller: Caller | null, signal: AbortSignal): Promise<Admitted | null> {
    const seat = this.#sit(caller, "making");
    try {
      const sandbox = await this.#make(spec, caller, signal);
      if (sandbox !== null) return { sandbox, place: this.#place(sandbox.id, seat) };
    } catch (error) {
      this.#rise(seat);
      throw error;
    }
    // Nothing has changed for those who wait.
    this.#seats.delete(seat);
    return null;
  }

  /** Null when the host is full. */
  async #make(spec: CreateSandbox, caller: Caller | null, signal: AbortSignal): Promise<Sandbox | null> {
    await this.#next(caller, signal);
    try {
      return await this.#options.launcher.create(spec);
    } catch (error) {
      if (error instanceof LauncherRefusal && error.code === "host_full") return null;
      throw error;
    } finally {
      this.#creating -= 1;
      const next = this.#nextToMake();
      if (next !== null) {
        this.#turns.delete(next);
        next.go();
      }
    }
  }

  /** Of whoever has fewest sandboxes, so that one caller's many keep nobody waiting; among equals who came first. */
  #nextToMake(): WaitingToMake | null {
    let [best = null] = this.#turns;
    let fewest = Number.POSITIVE_INFINITY;
    for (const waiting of this.#turns) {
      const { caller } = waiting;
      const has = caller === null ? 0 : this.#count((seat) => taken(seat) && isOf(seat, caller));
      if (has < fewest) [best, fewest] = [waiting, has];
    }
    return best;
  }

  async #next(caller: Caller | null, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#creating >= this.#options.concurrency) {
      await new Promise<void>((resolve, reject) => {
        const waiting: WaitingToMake = {
          caller,
          go: () => {
            signal.removeEventListener("abort", abort);
            resolve();
          },
        };
        const abort = () => {
          this.#turns.delete(waiting);
          reject(signal.reason);
        };
        signal.addEventListener("abort", abort, { once: true });
        this.#turns.add(waiting);
      });
    }
    this.#creating += 1;
  }

  #nextChange(withinMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        this.#changed.delete(wake);
        action();
      };
      const wake = () => settle(resolve);
      const abort = () => settle(() => reject(signal.reason));
      const timer = setTimeout(wake, withinMs);
      signal.addEventListener("abort", abort, { once: true });
      this.#changed.add(wake);
    });
  }
}

/** A call runs in it, or will. */
const serving = ({ state }: Seat) => state === "busy" || state === "making";
const taken = ({ state }: Seat) => state !== "waiting";

function isOf({ caller }: Seat, other: Caller): boolean {
  return caller !== null && caller.key === other.key;
}
