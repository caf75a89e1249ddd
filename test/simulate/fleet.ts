/** Several hosts: where a call goes, what the directory is asked on the way, and how many hosts there are. */
import { betterOfTwo, takerOf } from "../../gateway/server/fleet/choice.ts";
import { TOUCH_EVERY_MS } from "../../gateway/server/fleet/fleet.ts";
import { FLEET_TIMES } from "../../gateway/server/fleet/load.ts";
import { SAVED_EVERY_MS } from "../../gateway/server/sessions/travelling.ts";
import { MEMORY_GIVEN_PERCENT, WARMUP_SECONDS } from "../../infra/targets/aws/scaling.ts";
import type { Clock } from "./clock.ts";
import type { Costs } from "./costs.ts";
import { type Counts, Host, type HostOptions, type Session } from "./host.ts";
import type { Random } from "./random.ts";
import { MINUTE } from "./workload.ts";

/** Target tracking of an auto scaling group: minutes above the target, and minutes well below it. */
const OUT_AFTER_MINUTES = 3;
const IN_AFTER_MINUTES = 15;
const WELL_BELOW = 0.9;
const DRAIN_EVERY_MS = 1_000;
/** A beat, and a look at the other hosts. */
const COMMANDS_OF_A_BEAT = 2;
/** A request is counted as one, and as an execution. */
const COMMANDS_OF_LIMITS = 2;
/** `moving`, the pointer to its files, `parked`. */
const COMMANDS_OF_PARKING = 3;

export interface FleetOptions extends HostOptions {
  readonly leastHosts: number;
  readonly mostHosts: number;
}

export interface Call {
  readonly session: Session;
  readonly fresh: boolean;
  /** Of its code, alone on its host; ms. */
  readonly runMs: number;
  readonly changesFiles: boolean;
  readonly began: (waitedMs: number, host: Host) => void;
  readonly ended: () => void;
  readonly refused: () => void;
}

export class Fleet {
  readonly hosts: Host[] = [];
  readonly counts: Counts = { wakes: 0, sleeps: 0, gaveWay: 0, creates: 0 };
  /** Calls that were told that variables are gone: their image had no room any more, or their host had left. */
  readonly told = { disk: 0, moved: 0 };
  /** Commands of the engine, but for beats. */
  commands = 0;
  hops = 0;
  /** Those that take sessions. */
  #up: readonly Host[] = [];
  #starting = 0;
  #names = 0;
  #above = 0;
  #below = 0;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #options: FleetOptions;

  constructor(options: FleetOptions, clock: Clock, random: Random) {
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    for (let n = 0; n < options.leastHosts; n += 1) this.#join();
    const minute = () => {
      this.#scale();
      clock.after(MINUTE, minute);
    };
    clock.after(MINUTE, minute);
  }

  /** Alone it asks nobody. */
  get alone(): boolean {
    return this.#options.mostHosts === 1;
  }

  get costs(): Costs {
    return this.#options.costs;
  }

  /** Commands of beats in a second. */
  get beats(): number {
    return this.alone ? 0 : (this.hosts.length * COMMANDS_OF_A_BEAT * 1000) / FLEET_TIMES.beatMs;
  }

  call(call: Call): void {
    const up = this.#up;
    const here = up[this.#random.index(up.length)];
    if (here === undefined) {
      call.refused();
      return;
    }
    this.#ask(COMMANDS_OF_LIMITS);
    if (call.fresh) this.#fresh(call, here);
    else this.#inSession(call, here);
  }

  #fresh(call: Call, here: Host): void {
    const other = here.free > 0 ? null : betterOfTwo(this.#up, here.id, () => this.#random.next());
    const host = other !== null && other.free > 0 ? other : here;
    const came = this.#clock.now;
    const begin = (ms: number) => {
      const hop = host === here ? 0 : this.#hop();
      call.began(this.#clock.now - came + ms + hop, host);
      this.#clock.after(ms + hop + call.runMs * host.stretch, () => {
        host.freshEnds();
        call.ended();
      });
    };
    host.fresh(call.session.caller, begin, call.refused);
  }

  #inSession(call: Call, here: Host): void {
    const { session } = call;
    const run = () => {
      // Its turn: behind its own session's calls it waits for its user's code, whatever the service does.
      const came = this.#clock.now;
      session.busy = true;
      const host = this.#homeOf(session, here);
      const hop = host === here ? 0 : this.#hop();
      this.#place(
        session,
        host,
        (ms) => {
          const waits = ms + hop + this.#random.spread(this.costs.warm);
          call.began(this.#clock.now - came + waits, host);
          this.#clock.after(waits + call.runMs * host.stretch, () => this.#ends(call, host));
        },
        () => {
          session.busy = false;
          call.refused();
          session.queue.shift()?.();
        },
      );
    };
    if (session.busy || session.state === "leaving") session.queue.push(run);
    else run();
  }

  /** Where the session is; it is taken when it is nowhere. */
  #homeOf(session: Session, here: Host): Host {
    const { now } = this.#clock;
    const home = session.home;
    if (home !== null && home.state !== "gone") {
      if (home === here) return home;
      const { believed } = session;
      if (believed?.host !== here || now - believed.at > FLEET_TIMES.believedMs) {
        this.#ask(1);
        session.believed = { host: here, at: now };
      }
      return home;
    }
    const mine = { id: here.id, mayTake: here.state === "up", free: here.free };
    const taker = takerOf(mine, () => betterOfTwo(this.#up, here.id, () => this.#random.next()));
    const host = this.hosts.find(({ id }) => id === taker) ?? here;
    session.home = host;
    // The claim, and that its files are there.
    this.#ask(2);
    return host;
  }

  /** Its sandbox, awake and busy. `begin` is told what is to be waited for beside. */
  #place(session: Session, host: Host, begin: (ms: number) => void, refuse: () => void): void {
    if (session.state === "awake") {
      host.use(session);
      begin(0);
      return;
    }
    const { create, restore, wake } = this.costs;
    const ms = this.#random.spread(session.state === "asleep" ? wake : create);
    const made = () => {
      // Until then its image may have gone for another's.
      if (session.state === "asleep") host.wakes(session);
      else this.counts.creates += 1;
      const { lost } = session;
      if (lost !== null) this.told[lost] += 1;
      session.lost = null;
      session.state = "awake";
      begin(lost === "moved" ? this.#random.spread(restore) : 0);
    };
    host.make(session.caller, ms, session.state === "none", made, refuse);
  }

  #ends(call: Call, host: Host): void {
    const { session } = call;
    const { now } = this.#clock;
    session.lastUsedAt = now;
    session.busy = false;
    if (now - session.touchedAt >= TOUCH_EVERY_MS) {
      session.touchedAt = now;
      this.#ask(1);
    }
    if (call.changesFiles && now - session.savedAt >= SAVED_EVERY_MS) {
      session.savedAt = now;
      this.#ask(1);
    }
    const next = session.queue.shift();
    // Whoever waits for a place has no share in a session that goes on.
    host.rest(session, next !== undefined);
    call.ended();
    next?.();
  }

  #ask(commands: number): void {
    if (!this.alone) this.commands += commands;
  }

  #hop(): number {
    this.hops += 1;
    return this.#random.spread(this.costs.hop);
  }

  #look(): void {
    this.#up = this.hosts.filter(({ state }) => state === "up");
  }

  #join(): void {
    this.#names += 1;
    const host = new Host(`host-${this.#names}`, this.#options, this.#clock, this.#random, this.counts);
    this.hosts.push(host);
    this.#look();
  }

  #scale(): void {
    const { leastHosts, mostHosts } = this.#options;
    if (leastHosts === mostHosts) return;
    const up = this.#up;
    const given =
      up.reduce((sum, { capacity, taken }) => sum + Math.floor((taken * 100) / capacity), 0) / up.length;
    this.#above = given > MEMORY_GIVEN_PERCENT ? this.#above + 1 : 0;
    this.#below = given < MEMORY_GIVEN_PERCENT * WELL_BELOW ? this.#below + 1 : 0;
    const wanted = Math.min(
      mostHosts,
      Math.max(leastHosts, Math.ceil((up.length * given) / MEMORY_GIVEN_PERCENT)),
    );
    const present = up.length + this.#starting;
    if (this.#above >= OUT_AFTER_MINUTES && wanted > present) {
      for (let n = present; n < wanted; n += 1) {
        this.#starting += 1;
        this.#clock.after(WARMUP_SECONDS * 1000, () => {
          this.#starting -= 1;
          this.#join();
        });
      }
    }
    if (this.#below >= IN_AFTER_MINUTES && wanted < up.length && this.#starting === 0) {
      this.#below = 0;
      for (let n = up.length; n > wanted; n -= 1) this.#drain();
    }
  }

  #drain(): void {
    const host = this.#up[this.#random.index(this.#up.length)];
    if (host === undefined) return;
    host.state = "draining";
    this.#look();
    const round = () => {
      for (const session of host.giveAway()) {
        session.home = null;
        session.state = "none";
        session.lost = "moved";
        this.#ask(COMMANDS_OF_PARKING);
      }
      if (host.taken > 0 || host.waiting > 0) {
        this.#clock.after(DRAIN_EVERY_MS, round);
        return;
      }
      host.state = "gone";
      this.hosts.splice(this.hosts.indexOf(host), 1);
    };
    round();
  }
}
