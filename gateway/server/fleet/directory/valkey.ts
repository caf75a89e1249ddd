/** The directory of several hosts, in an engine of the Redis protocol: Valkey, or Redis from 7.0 on. */

import { z } from "@hono/zod-openapi";
import { Cluster, Redis } from "ioredis";
import {
  Beat,
  type Checkpoint,
  type Directory,
  type DirectoryTimes,
  DirectoryUnavailable,
  FORGOTTEN_MS,
  type Holding,
  type Host,
  HostFields,
  NOTED_MS,
  Pointed,
  RecordLost,
  Routed,
  type Settled,
  type Speaker,
} from "./directory.ts";
import { BEAT, CKPT, HOSTS, LEAVE, RECLAIM, ROUTE, type Script, SETTLE } from "./scripts.ts";

/** An engine that is well answers in less than one. */
const COMMAND_MS = 250;
const CONNECT_MS = 2_000;
/** A connection of which nothing comes is made anew; a beat is sent more often. */
const SILENT_MS = 6_000;
const RECONNECT_MS = 1_000;
/** For a replica to have what must not be lost. */
const REPLICA_MS = 100;
const REPLICAS_LOOKED_AT_EVERY_MS = 10_000;
/** A replica that has had nothing for so long is taken for lost: one that fails must not stop the fleet. */
const REPLICA_LOST_MS = 5_000;

const Hosts = z.object({ hosts: z.array(HostFields.extend({ id: z.string() })).nullable() });
const Settling = z.union([z.literal(0), z.literal(1), z.literal(2)]);
const Pointing = z.discriminatedUnion("kind", [...Pointed.options, z.object({ kind: z.literal("lost") })]);
const Yes = z.union([z.literal(0), z.literal(1)]).transform((one) => one === 1);

export interface EngineLook {
  /** Why it must not be relied on; null: it may be. */
  readonly problem: string | null;
  readonly version: string;
  /** What it is told is on its disk. */
  readonly persistent: boolean;
  readonly replicas: number;
  /** Its clock before this machine's. */
  readonly aheadMs: number;
}

export interface ValkeyOptions {
  /** `redis://` or `rediss://`; `?cluster=true` for an engine in cluster mode. */
  readonly url: string;
  /** PEM; null: the public authorities. For `rediss://`. */
  readonly ca?: string | null;
  /** Several fleets may share an engine. */
  readonly fleet: string;
  readonly times: DirectoryTimes;
  /** How long an answer is waited for. Default: a quarter of a second. */
  readonly commandMs?: number;
  /** A connection is there, the first or a new one. */
  readonly onConnected?: () => void;
}

function connect(url: string, ca: string | null, commandTimeout: number): Redis | Cluster {
  const address = new URL(url);
  const cluster = address.searchParams.get("cluster") === "true";
  address.searchParams.delete("cluster");
  const options = {
    lazyConnect: true,
    commandTimeout,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENT_MS,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    // What was on its way when a connection broke is said again by whoever asked, or by nobody.
    autoResendUnfulfilledCommands: false,
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 8), RECONNECT_MS),
    // A former primary: the next connection finds the new one.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    connectionName: "kernelyard",
  };
  const authority = ca === null ? {} : { ca };
  const secure = address.protocol === "rediss:";
  if (!cluster) return new Redis(address.href, { ...options, ...(secure ? { tls: authority } : {}) });
  const tls = secure ? { tls: { ...authority, servername: address.hostname } } : {};
  const { username, password } = address;
  return new Cluster([{ host: address.hostname, port: Number(address.port || 6379) }], {
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 8), RECONNECT_MS),
    // Certificates are for names.
    dnsLookup: (name, callback) => callback(null, name),
    redisOptions: {
      ...options,
      ...tls,
      ...(username === "" ? {} : { username: decodeURIComponent(username) }),
      ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    },
  });
}

export class ValkeyDirectory implements Directory {
  readonly #redis: Redis | Cluster;
  readonly #times: DirectoryTimes;
  readonly #prefix: string;
  #replicas = 0;
  #replicasKnownAt = Number.NEGATIVE_INFINITY;
  #replicaSilentSince: number | null = null;

  constructor({ url, ca = null, fleet, times, commandMs = COMMAND_MS, onConnected }: ValkeyOptions) {
    this.#times = times;
    // One slot of a cluster for all: scripts see hosts and sessions together.
    this.#prefix = `{ky:${fleet}}:`;
    this.#redis = connect(url, ca, commandMs);
    // Each command tells its own failure.
    this.#redis.on("error", () => {});
    if (onConnected !== undefined) this.#redis.on("ready", onConnected);
  }

  /** Resolves when the first connection is there. Rejects with `DirectoryUnavailable`; it is tried again all the same. */
  async connect(): Promise<void> {
    await this.#asked(() => this.#redis.connect());
  }

  /** Why this engine must not be relied on, for an operator; null: it may be. Rejects with `DirectoryUnavailable`. */
  async problem(): Promise<string | null> {
    const info = await this.#asked(() => this.#info());
    const version = info.get("valkey_version") ?? info.get("redis_version") ?? "";
    if (Number.parseInt(version, 10) < 7) return `it is version ${version}: 7.0 or newer is needed`;
    const policy = info.get("maxmemory_policy") ?? "";
    if (policy !== "noeviction") {
      return `it drops keys when its memory is full (maxmemory-policy ${policy}): set maxmemory-policy noeviction`;
    }
    return null;
  }

  /** For an operator who looks at it. Rejects with `DirectoryUnavailable`. */
  async look(): Promise<EngineLook> {
    return this.#asked(async () => {
      const [problem, info] = [await this.problem(), await this.#info()];
      const sentAt = Date.now();
      const [seconds, micros] = z
        .tuple([z.coerce.number(), z.coerce.number()])
        .parse(await this.#primary().time());
      const here = (sentAt + Date.now()) / 2;
      return {
        problem,
        version: info.get("valkey_version") ?? info.get("redis_version") ?? "",
        persistent: info.get("aof_enabled") === "1",
        replicas: Number(info.get("connected_slaves") ?? 0),
        aheadMs: Math.round(seconds * 1000 + micros / 1000 - here),
      };
    });
  }

  /** Where the fleet counts its callers. */
  get limits(): { readonly client: Redis | Cluster; readonly prefix: string } {
    return { client: this.#redis, prefix: this.#key("rl:") };
  }

  beat({ host, nonce, since }: Speaker, fields: HostFields, name: string): Promise<Beat> {
    const args = [host, nonce, since, this.#times.leaseMs, JSON.stringify(fields), name];
    return this.#asked(async () => {
      const beat = Beat.parse(await this.#json(BEAT, ["hosts", "born"], args));
      await this.#replicated();
      return beat;
    });
  }

  hosts(): Promise<Host[]> {
    return this.#asked(async () => Hosts.parse(await this.#json(HOSTS, ["hosts"], [])).hosts ?? []);
  }

  route(digest: string, candidate: string | null): Promise<Routed> {
    const args = [candidate ?? "", this.#times.holdMs, this.#times.recordMs];
    return this.#asked(async () => {
      const routed = Routed.parse(await this.#json(ROUTE, ["hosts", "born", `s:${digest}`], args));
      if (routed.kind === "claimed") await this.#replicated();
      return routed;
    });
  }

  settle({ digest, host, epoch }: Holding, to: Settled): Promise<boolean> {
    const { key, bytes } = (to.state === "parked" ? to.ckpt : null) ?? { key: "", bytes: 0 };
    const { recordMs } = this.#times;
    const keepMs = to.state === "forgotten" ? Math.min(FORGOTTEN_MS, recordMs) : recordMs;
    const args = [host, epoch, to.state, key, bytes, keepMs];
    return this.#asked(async () => {
      const settled = Settling.parse(await this.#run(SETTLE, [`s:${digest}`], args));
      if (settled === 2) throw new RecordLost();
      return settled === 1;
    });
  }

  ckpt({ digest, host, epoch }: Holding, { key, bytes }: Checkpoint): Promise<Pointed> {
    const args = [host, epoch, key, bytes];
    return this.#asked(async () => {
      const pointed = Pointing.parse(await this.#json(CKPT, [`s:${digest}`], args));
      if (pointed.kind === "lost") throw new RecordLost();
      return pointed;
    });
  }

  reclaim(
    { digest, host, epoch }: Holding,
    state: "claimed" | "live" | "idle",
    checkpoint: Checkpoint | null,
  ): Promise<boolean> {
    const args = [host, epoch, state, this.#times.recordMs, checkpoint?.key ?? "", checkpoint?.bytes ?? 0];
    return this.#asked(async () => Yes.parse(await this.#run(RECLAIM, ["hosts", `s:${digest}`], args)));
  }

  async touch(digests: readonly string[]): Promise<void> {
    if (digests.length === 0) return;
    await this.#asked(async () => {
      const pipeline = this.#redis.pipeline();
      for (const digest of digests) pipeline.pexpire(this.#key(`s:${digest}`), this.#times.recordMs);
      for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
    });
  }

  note(request: string, host: string): Promise<string | null> {
    const key = this.#key(`r:${request}`);
    return this.#asked(() => this.#redis.set(key, host, "PX", NOTED_MS, "NX", "GET"));
  }

  async leave({ host, nonce, since }: Speaker): Promise<void> {
    await this.#asked(() => this.#run(LEAVE, ["hosts"], [host, nonce, since]));
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
  }

  #key(name: string): string {
    return `${this.#prefix}${name}`;
  }

  async #run(script: Script, names: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const keys = names.map((name) => this.#key(name));
    try {
      return await this.#redis.evalsha(script.sha, keys.length, ...keys, ...args);
    } catch (error) {
      // After a restart or a failover it has to be told once.
      if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
      return this.#redis.eval(script.lua, keys.length, ...keys, ...args);
    }
  }

  async #json(
    script: Script,
    names: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    return JSON.parse(z.string().parse(await this.#run(script, names, args)));
  }

  /** A failover must not bring back an older lease or home than somebody relies on: a replica has it too, or it does not count. */
  async #replicated(): Promise<void> {
    const now = performance.now();
    if (now - this.#replicasKnownAt > REPLICAS_LOOKED_AT_EVERY_MS) {
      this.#replicas = Number((await this.#info()).get("connected_slaves") ?? 0);
      this.#replicasKnownAt = now;
    }
    if (this.#replicas === 0 || (await this.#primary().wait(1, REPLICA_MS)) > 0) {
      this.#replicaSilentSince = null;
      return;
    }
    // It may be gone for good.
    this.#replicasKnownAt = Number.NEGATIVE_INFINITY;
    this.#replicaSilentSince ??= now;
    if (now - this.#replicaSilentSince < REPLICA_LOST_MS)
      throw new Error(`no replica had it within ${REPLICA_MS} ms`);
  }

  #primary(): Redis {
    if (this.#redis instanceof Redis) return this.#redis;
    const [primary] = this.#redis.nodes("master");
    if (primary === undefined) throw new Error("the cluster has no primary");
    return primary;
  }

  async #info(): Promise<Map<string, string>> {
    const text = await this.#primary().info();
    return new Map(
      [...text.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name = "", value = ""]) => [name, value]),
    );
  }

  async #asked<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof DirectoryUnavailable) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new DirectoryUnavailable(`The fleet's directory does not answer: ${reason}`, { cause: error });
    }
  }
}
