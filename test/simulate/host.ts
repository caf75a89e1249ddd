/**
 * One host: its places, what is in them, and who waits. Sizes, shares, the order in which a full host makes room, and how many sandboxes are
 * kept ready are the product's own; what takes time takes it on the simulation's clock.
 */
import type { Caller } from "../../gateway/server/auth/principal.ts";
import { boundsFor, Demand } from "../../gateway/server/sessions/demand.ts";
import { WAIT_FOR_ROOM_MS } from "../../gateway/server/sessions/kernels.ts";
import { LOOK_AGAIN_MS, REFILL_AFTER_MS } from "../../gateway/server/sessions/pool.ts";
import { LONGEST_SWEEP_MS } from "../../gateway/server/sessions/registry.ts";
import { askedToGive, mostOf, placesForCallers } from "../../gateway/server/sessions/shares.ts";
import type { Clock } from "./clock.ts";
import type { Costs } from "./costs.ts";
import type { Random } from "./random.ts";

/** One user's, for the whole day. */
export interface Session {
  readonly user: number;
  readonly caller: Caller;
  home: Host | null;
  /** `leaving`: it falls asleep, or its host gives it away. */
  state: "none" | "awake" | "asleep" | "leaving";
  busy: boolean;
  lastUsedAt: number;
  /** Calls behind the one that runs, first come first. */
  readonly queue: (() => void)[];
  /** Its variables went, and nobody has been told yet. */
  lost: "disk" | "moved" | null;
  savedAt: number;
  touchedAt: number;
  believed: { host: Host; at: number } | null;
  filesMib: number;
}

export interface HostOptions {
  readonly capacity: number;
  readonly cpus: number;
  /** Of a sandbox. */
  readonly cpuShare: number;
  readonly sleepAfterMs: number;
  readonly sleepDiskMib: number;
  readonly costs: Costs;
}

/** A session, and the sandbox of a call that has none. */
const MOST_OF_A_USER = 2;

export interface Counts {
  wakes: number;
  sleeps: number;
  gaveWay: number;
  creates: number;
}

interface Waiting {
  readonly caller: Caller;
  readonly until: number;
  readonly make: () => void;
  readonly refuse: () => void;
  done: boolean;
  /** It waits for the room that is being made ahead. */
  forAhead: boolean;
}

export class Host {
  readonly id: string;
  state: "up" | "draining" | "gone" = "up";
  readonly places: number;
  readonly upSince: number;
  /** Sandboxes in which a call runs, or that are made for one. */
  busy = 0;
  /** Sandboxes of a kind that is being saved, or made ahead: their places are taken. */
  #between = 0;
  spares = 0;
  /** Awake and idle; idle longest first. */
  readonly idle = new Map<number, Session>();
  /** Asleep longest first; MiB. */
  readonly asleep = new Map<Session, number>();
  asleepMib = 0;
  #making = 0;
  readonly #toMake: (() => void)[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #demand: Demand;
  #refillAt = Number.POSITIVE_INFINITY;
  #makingSpare = false;
  #sweeping = false;
  /** Room that is being made before anybody waits for it; `claimed` once somebody does. */
  #ahead: "claimed" | "free" | null = null;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: HostOptions;
  readonly #counts: Counts;

  constructor(id: string, options: HostOptions, clock: Clock, random: Random, counts: Counts) {
    this.id = id;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#counts = counts;
    this.places = placesForCallers(options.capacity);
    this.upSince = clock.now;
    this.#demand = new Demand(boundsFor(options.capacity));
    this.#refillIn(0);
    const sweep = () => {
      if (this.state === "gone") return;
      this.#sweep();
      clock.after(LONGEST_SWEEP_MS, sweep);
    };
    clock.after(random.between(0, LONGEST_SWEEP_MS), sweep);
  }

  get capacity(): number {
    return this.#options.capacity;
  }

  /** Places that are taken. */
  get taken(): number {
    return this.busy + this.#between + this.spares + this.idle.size;
  }

  /** Places in which no call runs. */
  get free(): number {
    return Math.max(0, this.places - this.busy);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** How much longer code runs than alone: all sandboxes share the CPUs. */
  get stretch(): number {
    return Math.max(1, (this.busy * this.#options.cpuShare) / this.#options.cpus);
  }

  /** A spare sandbox, or a new one. `begin` is told what it cost. */
  fresh(caller: Caller, begin: (ms: number) => void, refuse: () => void): void {
    this.#demand.arrived(this.#clock.now);
    if (this.spares > 0) {
      this.spares -= 1;
      this.busy += 1;
      this.#refillIn(REFILL_AFTER_MS);
      begin(this.#random.spread(this.#options.costs.spare));
      return;
    }
    this.#refillIn(REFILL_AFTER_MS);
    this.#counts.creates += 1;
    this.make(caller, this.#random.spread(this.#options.costs.create), false, begin, refuse);
  }

  freshEnds(): void {
    this.busy -= 1;
    this.#changed();
    this.#refillIn(0);
  }

  /** A sandbox for this caller's call, which takes so long to make, when there is a place. `isNew`: of a session that had none. */
  make(caller: Caller, ms: number, isNew: boolean, begin: (ms: number) => void, refuse: () => void): void {
    const came = this.#clock.now;
    const waiting: Waiting = {
      caller,
      until: came + WAIT_FOR_ROOM_MS,
      make: () => {
        this.busy += 1;
        this.#turnToMake(ms, () => begin(0));
        if (isNew) this.#goAhead();
      },
      refuse,
      done: false,
      forAhead: false,
    };
    if (this.#admit(waiting)) return;
    this.#waiting.push(waiting);
    this.#clock.at(waiting.until, () => {
      if (waiting.done) return;
      waiting.done = true;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      refuse();
    });
  }

  /** From idle to busy. */
  use(session: Session): void {
    this.idle.delete(session.user);
    this.busy += 1;
  }

  /** From busy to idle. `goesOn`: only until its next call, which is there. */
  rest(session: Session, goesOn: boolean): void {
    this.busy -= 1;
    this.idle.set(session.user, session);
    if (!goesOn) this.#changed();
  }

  wakes(session: Session): void {
    this.asleepMib -= this.asleep.get(session) ?? 0;
    this.asleep.delete(session);
    this.#counts.wakes += 1;
  }

  /** All that nobody uses goes; its sessions are given back. */
  giveAway(): Session[] {
    const idle = [...this.idle.values()];
    // One that is busy is about to wake.
    const asleep = [...this.asleep].filter(([session]) => !session.busy);
    for (const [session, mib] of asleep) {
      this.asleep.delete(session);
      this.asleepMib -= mib;
    }
    this.idle.clear();
    this.spares = 0;
    this.#changed();
    return [...idle, ...asleep.map(([session]) => session)];
  }

  #changed(): void {
    while (this.#waiting.length > 0) {
      const next = this.#waiting.findIndex((waiting) => this.#admit(waiting));
      if (next < 0) return;
      this.#waiting.splice(next, 1);
    }
  }

  /** Whether it is made now, or will be as soon as somebody has given way. */
  #admit(waiting: Waiting): boolean {
    if (this.taken < this.places) {
      waiting.done = true;
      waiting.make();
      return true;
    }
    if (this.spares > 0) {
      this.spares -= 1;
      waiting.done = true;
      waiting.make();
      return true;
    }
    if (this.#ahead === "free") {
      this.#ahead = "claimed";
      waiting.forAhead = true;
    }
    if (waiting.forAhead && this.#ahead === "claimed") return false;
    const victim = this.#toGiveWay(waiting.caller);
    if (victim === null) return false;
    this.#counts.gaveWay += 1;
    waiting.done = true;
    this.#sleep(victim, () => waiting.make());
    return true;
  }

  /** Who begins in the last place may not be the only one. */
  #goAhead(): void {
    if (this.#ahead !== null || this.taken < this.places || this.spares > 0) return;
    const victim = this.#toGiveWay(null);
    if (victim === null) return;
    this.#ahead = "free";
    this.#sleep(victim, () => {
      this.#ahead = null;
    });
  }

  #toGiveWay(caller: Caller | null): Session | null {
    const hasShare = () => MOST_OF_A_USER >= mostOf(this.places, { shared: false });
    for (const from of askedToGive(caller, hasShare)) {
      for (const session of this.idle.values()) if (from(session.caller)) return session;
    }
    return null;
  }

  #sweep(): void {
    if (this.#sweeping) return;
    const next = () => {
      const [session] = this.idle.values();
      const due = session !== undefined && this.#clock.now - session.lastUsedAt > this.#options.sleepAfterMs;
      this.#sweeping = due;
      if (due) this.#sleep(session, next);
    };
    next();
  }

  #sleep(session: Session, then: () => void): void {
    this.idle.delete(session.user);
    session.state = "leaving";
    this.#between += 1;
    this.#counts.sleeps += 1;
    this.#clock.after(this.#random.spread(this.#options.costs.save), () => {
      this.#between -= 1;
      this.#fallen(session);
      then();
      this.#changed();
      session.queue.shift()?.();
    });
  }

  #fallen(session: Session): void {
    session.state = "asleep";
    const mib = this.#random.spread(this.#options.costs.image);
    this.asleep.set(session, mib);
    this.asleepMib += mib;
    for (const [oldest, size] of this.asleep) {
      if (this.asleepMib <= this.#options.sleepDiskMib) break;
      this.asleep.delete(oldest);
      this.asleepMib -= size;
      oldest.state = "none";
      oldest.lost = "disk";
    }
  }

  /** As many at the same time as there are CPUs. */
  #turnToMake(ms: number, made: () => void): void {
    const go = () => {
      this.#making += 1;
      this.#clock.after(ms, () => {
        this.#making -= 1;
        this.#toMake.shift()?.();
        made();
      });
    };
    if (this.#making < Math.max(2, this.#options.cpus)) go();
    else this.#toMake.push(go);
  }

  #refillIn(ms: number): void {
    const at = this.#clock.now + ms;
    if (at >= this.#refillAt || this.#makingSpare) return;
    this.#refillAt = at;
    this.#clock.at(at, () => {
      if (this.#refillAt !== at || this.state !== "up") return;
      this.#refillAt = Number.POSITIVE_INFINITY;
      this.#refill();
    });
  }

  #refill(): void {
    const missing = this.#demand.wanted(this.#clock.now) - this.spares;
    if (missing < 0 && this.spares > 0) {
      this.spares -= 1;
      this.#changed();
    }
    if (missing <= 0 || this.taken >= this.places) {
      this.#refillIn(LOOK_AGAIN_MS);
      return;
    }
    if (this.#making > 0 || this.#waiting.length > 0) {
      this.#refillIn(REFILL_AFTER_MS);
      return;
    }
    this.#makingSpare = true;
    this.#between += 1;
    this.#turnToMake(this.#random.spread(this.#options.costs.create), () => {
      this.#makingSpare = false;
      this.#between -= 1;
      if (this.state === "up") this.spares += 1;
      this.#changed();
      this.#refillIn(0);
    });
  }
}
