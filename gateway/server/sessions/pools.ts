/** A pool for each image profile of this host, the one of everybody first. */
import type { Logger } from "pino";
import type { CheckpointHealth, Sandbox } from "../../common/protocol/launcher-api.ts";
import { Pool } from "./pool.ts";
import type { Sandboxes } from "./sandboxes.ts";

export class Pools {
  readonly #pools: ReadonlyMap<string, Pool>;

  /** `size`: warm sandboxes of each, see `Pool`. */
  constructor(profiles: readonly string[], sandboxes: Sandboxes, size: number | "auto", log: Logger) {
    this.#pools = new Map(
      profiles.map((profile) => [profile, new Pool(profile, sandboxes, size, log)] as const),
    );
  }

  /** Throws for a profile that the settings do not have. */
  of(profile: string): Pool {
    const pool = this.#pools.get(profile);
    if (pool === undefined) throw new Error(`no pool of profile ${profile}`);
    return pool;
  }

  get ready(): number {
    return this.#sum((pool) => pool.ready);
  }

  get wanted(): number {
    return this.#sum((pool) => pool.wanted);
  }

  get inUse(): number {
    return this.#sum((pool) => pool.inUse);
  }

  /** True for every sandbox that one of them will account for. */
  owns(id: string): boolean {
    return this.#some((pool) => pool.owns(id));
  }

  isStray(id: string): boolean {
    return this.#some((pool) => pool.isStray(id));
  }

  onStray(listener: () => void): void {
    for (const pool of this.#pools.values()) pool.onStray(listener);
  }

  /** False when its profile's pool has no room for it, or there is none any more. */
  async adopt({ id, profile }: Pick<Sandbox, "id" | "profile">): Promise<boolean> {
    return (await this.#pools.get(profile)?.adopt(id)) ?? false;
  }

  keepStrays(present: ReadonlySet<string>): void {
    for (const pool of this.#pools.values()) pool.keepStrays(present);
  }

  /** As the launcher is found; each pool has its part of the host. */
  fit(capacity: number, checkpoints: CheckpointHealth["state"]): void {
    const each = Math.ceil(capacity / this.#pools.size);
    for (const pool of this.#pools.values()) pool.fit(each, checkpoints);
  }

  start(): void {
    for (const pool of this.#pools.values()) pool.start();
  }

  stop(): void {
    for (const pool of this.#pools.values()) pool.stop();
  }

  #sum(count: (pool: Pool) => number): number {
    return [...this.#pools.values()].reduce((sum, pool) => sum + count(pool), 0);
  }

  #some(holds: (pool: Pool) => boolean): boolean {
    return [...this.#pools.values()].some(holds);
  }
}
