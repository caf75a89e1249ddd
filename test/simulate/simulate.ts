/** A day of so many users, and what came of it. */
import { readSettings, type Settings } from "../../gateway/common/settings/read.ts";
import { capacityOf } from "../../gateway/launcher/spec/capacity.ts";
import { Clock } from "./clock.ts";
import type { Costs } from "./costs.ts";
import { type Call, Fleet } from "./fleet.ts";
import type { Host, Session } from "./host.ts";
import { Random } from "./random.ts";
import {
  type Conversation,
  conversations,
  DAY_BEGINS,
  DAY_ENDS,
  HOUR,
  MINUTE,
  WORKDAY,
  type Workload,
} from "./workload.ts";

const GIB = 1024 ** 3;
export const MIB = 1024 ** 2;

/** The product's own, and what is said otherwise. */
export const defaultSettings = (environment: Readonly<Record<string, string>> = {}): Settings =>
  readSettings(environment);

export const capacityFor = (settings: Settings, memoryGib: number): number =>
  capacityOf({ ...settings, hostMemoryBytes: memoryGib * GIB }).sandboxes;

export interface Machine {
  readonly cpus: number;
  readonly memoryGib: number;
}

export interface Options {
  readonly users: number;
  readonly seed: number;
  readonly costs: Costs;
  readonly machine: Machine;
  readonly leastHosts: number;
  readonly mostHosts: number;
  readonly workload?: Workload;
  /** `KERNELYARD_*`; what is not said is the product's default. */
  readonly environment?: Readonly<Record<string, string>>;
  /** For tests: told of everything, as it happens. */
  readonly watch?: (event: Watched) => void;
}

export type Watched =
  | {
      readonly kind: "came" | "ended" | "refused";
      readonly call: number;
      readonly at: number;
      readonly user: number;
    }
  | {
      readonly kind: "began";
      readonly call: number;
      readonly at: number;
      readonly user: number;
      readonly fresh: boolean;
      readonly waited: number;
      readonly host: Host;
    };

/** Of a quarter of an hour. */
export interface Quarter {
  readonly at: number;
  readonly hosts: number;
  /** On average. */
  readonly places: number;
  readonly taken: number;
  readonly busy: number;
  readonly asleep: number;
  readonly waitP50: number;
  readonly waitP99: number;
}

export interface Result {
  readonly users: number;
  readonly machine: Machine;
  readonly capacity: number;
  readonly calls: number;
  readonly refused: number;
  readonly unfinished: number;
  readonly hostsMost: number;
  readonly hostHours: number;
  readonly waitP50: number;
  readonly waitP99: number;
  readonly waitMost: number;
  readonly wakesInBusiestHour: number;
  /** Calls that were told that variables are gone. */
  readonly resetsByDisk: number;
  readonly resetsByMove: number;
  readonly hops: number;
  /** Of the engine, in the busiest minute. */
  readonly commandsPerSecond: number;
  /** Of the busiest host: sessions asleep, and files. */
  readonly diskGib: number;
  /** Of all CPUs in the busiest quarter. */
  readonly cpu: number;
  readonly quarters: readonly Quarter[];
}

const QUARTER = 15 * MINUTE;

export function simulate(options: Options): Result {
  const { costs, machine, seed, users, watch, workload = WORKDAY } = options;
  const settings = defaultSettings(options.environment);
  const random = new Random(seed);
  const clock = new Clock(DAY_BEGINS);
  const capacity = capacityFor(settings, machine.memoryGib);
  const fleet = new Fleet(
    {
      capacity,
      cpus: machine.cpus,
      cpuShare: settings.cpus,
      sleepAfterMs: settings.sleepAfterMs,
      sleepDiskMib: settings.sleepDiskBytes / MIB,
      costs,
      leastHosts: options.leastHosts,
      mostHosts: options.mostHosts,
    },
    clock,
    random,
  );
  const sessions = new Map<number, Session>();
  const sessionOf = (user: number): Session => {
    const present = sessions.get(user);
    if (present !== undefined) return present;
    const made = newSession(user, random.spread(workload.files));
    sessions.set(user, made);
    return made;
  };
  const waits: number[] = [];
  let recent: number[] = [];
  let [calls, ended, refused] = [0, 0, 0];

  const ask = (conversation: Conversation, left: number): void => {
    const pair = !conversation.fresh && random.chance(workload.pairShare);
    let open = pair ? 2 : 1;
    // The next message comes when all of this one's calls have ended.
    const next = () => {
      open -= 1;
      if (open > 0 || left <= 1) return;
      const think = random.spread(workload.think);
      if (clock.now + think < DAY_ENDS) clock.after(think, () => ask(conversation, left - 1));
    };
    for (let n = 0; n < (pair ? 2 : 1); n += 1) place(conversation, next);
  };
  const place = ({ fresh, user }: Conversation, next: () => void): void => {
    const call = calls;
    calls += 1;
    watch?.({ kind: "came", call, at: clock.now, user });
    const made: Call = {
      session: sessionOf(user),
      fresh,
      runMs: Math.min(settings.timeoutMs, random.spread(workload.run)),
      changesFiles: random.chance(workload.filesShare),
      began: (waited, host) => {
        waits.push(waited);
        recent.push(waited);
        watch?.({ kind: "began", call, at: clock.now, user, fresh, waited, host });
      },
      ended: () => {
        ended += 1;
        watch?.({ kind: "ended", call, at: clock.now, user });
        next();
      },
      refused: () => {
        refused += 1;
        watch?.({ kind: "refused", call, at: clock.now, user });
        next();
      },
    };
    fleet.call(made);
  };
  for (const conversation of conversations(users, workload, random))
    clock.at(conversation.at, () => ask(conversation, conversation.calls));

  const quarters: Quarter[] = [];
  let [commands, commandsMost, wakes, wakesMost, hostsMost, hostMinutes, diskMost, cpuMost] = [
    0, 0, 0, 0, 0, 0, 0, 0,
  ];
  let sums = { minutes: 0, places: 0, taken: 0, busy: 0 };
  /** Of the host that has most; MiB. */
  const disk = () => {
    const used = new Map(fleet.hosts.map((host) => [host, host.asleepMib]));
    for (const { filesMib, home } of sessions.values())
      if (home !== null && home.state !== "gone") used.set(home, (used.get(home) ?? 0) + filesMib);
    return Math.max(...used.values());
  };
  const minute = () => {
    const { hosts } = fleet;
    const total = (of: (host: Host) => number) => hosts.reduce((sum, host) => sum + of(host), 0);
    commandsMost = Math.max(commandsMost, (fleet.commands - commands) / 60 + fleet.beats);
    commands = fleet.commands;
    hostsMost = Math.max(hostsMost, hosts.length);
    hostMinutes += hosts.length;
    sums = {
      minutes: sums.minutes + 1,
      places: sums.places + total(({ places }) => places),
      taken: sums.taken + total(({ taken }) => taken),
      busy: sums.busy + total(({ busy }) => busy),
    };
    if ((clock.now - DAY_BEGINS) % QUARTER === 0) {
      const [waitP50, waitP99] = [quantile(recent, 0.5), quantile(recent, 0.99)];
      const mean = (sum: number) => sum / sums.minutes;
      const asleep = total((host) => host.asleep.size);
      quarters.push({
        at: clock.now,
        hosts: hosts.length,
        places: mean(sums.places),
        taken: mean(sums.taken),
        busy: mean(sums.busy),
        asleep,
        waitP50,
        waitP99,
      });
      cpuMost = Math.max(cpuMost, (mean(sums.busy) * settings.cpus) / (hosts.length * machine.cpus));
      recent = [];
      sums = { minutes: 0, places: 0, taken: 0, busy: 0 };
    }
    if ((clock.now - DAY_BEGINS) % HOUR === 0) {
      wakesMost = Math.max(wakesMost, fleet.counts.wakes - wakes);
      wakes = fleet.counts.wakes;
      diskMost = Math.max(diskMost, disk());
    }
    clock.after(MINUTE, minute);
  };
  clock.after(MINUTE, minute);
  clock.run(DAY_ENDS);
  waits.sort((a, b) => a - b);
  return {
    users,
    machine,
    capacity,
    calls,
    refused,
    unfinished: calls - ended - refused,
    hostsMost,
    hostHours: hostMinutes / 60,
    waitP50: sortedAt(waits, 0.5),
    waitP99: sortedAt(waits, 0.99),
    waitMost: waits.at(-1) ?? 0,
    wakesInBusiestHour: wakesMost,
    resetsByDisk: fleet.told.disk,
    resetsByMove: fleet.told.moved,
    hops: fleet.hops,
    commandsPerSecond: commandsMost,
    diskGib: diskMost / 1024,
    cpu: cpuMost,
    quarters,
  };
}

function newSession(user: number, filesMib: number): Session {
  return {
    user,
    caller: { key: String(user), shared: false },
    home: null,
    state: "none",
    busy: false,
    lastUsedAt: 0,
    queue: [],
    lost: null,
    savedAt: Number.NEGATIVE_INFINITY,
    touchedAt: Number.NEGATIVE_INFINITY,
    believed: null,
    filesMib,
  };
}

const sortedAt = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

const quantile = (values: readonly number[], share: number) =>
  sortedAt(
    [...values].sort((a, b) => a - b),
    share,
  );
