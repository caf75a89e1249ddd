/** The two directories as a test opens them: with times of its own, and a way to let a host's lease end. */
import { setTimeout as delay } from "node:timers/promises";
import type {
  Directory,
  DirectoryTimes,
  HostFields,
  Speaker,
} from "../../gateway/server/fleet/directory/directory.ts";
import { ValkeyDirectory } from "../../gateway/server/fleet/directory/valkey.ts";
import { fields } from "../support/fleet/hosts.ts";
import { MemoryDirectory } from "../support/fleet/memory-directory.ts";
import type { RedisServer } from "../support/redis/redis-server.ts";

/** No lease ends by chance, however slow the machine. */
export const LONG: DirectoryTimes = { leaseMs: 3_600_000, holdMs: 0, recordMs: 360_000_000 };

export interface Opened {
  readonly directory: Directory;
  /** The lease of this host ends, and no other. */
  lapse(speaker: Speaker): Promise<void>;
  /** So much time goes by for the engine, at least. */
  pass(ms: number): Promise<void>;
}

export type Open = (times?: Partial<DirectoryTimes>) => Promise<Opened>;

let names = 0;
/** No two leases are called the same. */
export const newName = () => `lease-${++names}`;

export const openMemory: Open = async (times = {}) => {
  let now = 1_700_000_000_000;
  const all = { ...LONG, ...times };
  const directory = new MemoryDirectory(all, () => now);
  const alive = new Map<string, { speaker: Speaker; fields: HostFields }>();
  const beat = directory.beat.bind(directory);
  directory.beat = (who, said, name) => {
    alive.set(who.host, { speaker: who, fields: said });
    return beat(who, said, name);
  };
  return {
    directory,
    async lapse({ host }) {
      alive.delete(host);
      now += all.leaseMs - 1;
      for (const [, other] of alive) await beat(other.speaker, other.fields, newName());
      now += 1;
    },
    async pass(ms) {
      now += ms;
    },
  };
};

/** The real patience is a quarter of a second, which a machine with other work may need for one answer. */
export const PATIENT = { commandMs: 20_000 };

let fleets = 0;
export const openValkey =
  (server: () => RedisServer, query = ""): Open =>
  async (times = {}) => {
    const all = { ...LONG, ...times };
    const fleet = `suite-${++fleets}`;
    const url = `${server().url}${query}`;
    const directory = new ValkeyDirectory({ url, fleet, times: all, ...PATIENT });
    await directory.connect();
    return {
      directory,
      async lapse(who) {
        const brief = new ValkeyDirectory({ url, fleet, times: { ...all, leaseMs: 1 }, ...PATIENT });
        await brief.connect();
        await brief.beat(who, fields(), newName());
        while ((await brief.hosts()).some(({ id }) => id === who.host)) await delay(2);
        await brief.close();
      },
      pass: (ms) => delay(ms),
    };
  };
