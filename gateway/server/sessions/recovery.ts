/**
 * Brings the gateway's view in line with the launcher's list: after a restart of either, and every so often.
 * Kernels of sessions are attached again, sessions asleep are remembered. Of fresh sandboxes only the pool's own go back
 * to it: what another gateway did with one is not known here, and a new one costs nobody's time.
 */
import type { Logger } from "pino";
import type { Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Pools } from "./pools.ts";
import type { Registry } from "./registry.ts";
import type { Sandboxes } from "./sandboxes.ts";

const EVERY_MS = 30_000;
/** While the launcher is away, and right after a stream broke. */
const SOON_MS = 1_000;
/** A sandbox younger than this may be on its way to a caller. */
const SETTLED_AFTER_MS = 90_000;

export interface RecoveryOptions {
  readonly sandboxes: Sandboxes;
  readonly pool: Pools;
  readonly registry: Registry;
  readonly log: Logger;
}

export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #startedAt = Date.now();
  #timer: NodeJS.Timeout | null = null;
  #running = false;
  #stopped = false;
  #away = false;
  #image: string | null = null;
  /** The launcher makes the templates that sandboxes will be made from. */
  #preparing = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    options.pool.onStray(() => this.#in(SOON_MS));
  }

  /** Resolves after the first look, whatever it brought. */
  async start(): Promise<void> {
    await this.#round();
    this.#options.pool.start();
    this.#options.registry.start();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Digest of the image that new sandboxes have, as of the last look; null while it is not known. */
  get image(): string | null {
    return this.#image;
  }

  /** Those that nobody here answers for. One on its way to a caller may be among them for a moment. */
  strangers(present: readonly Sandbox[]): Sandbox[] {
    const { sandboxes, pool, registry } = this.#options;
    return present.filter(({ id }) => !sandboxes.isDoomed(id) && !registry.knows(id) && !pool.owns(id));
  }

  #in(ms: number): void {
    if (this.#stopped || this.#running) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#round(), ms);
  }

  async #round(): Promise<void> {
    const { log } = this.#options;
    this.#running = true;
    let next = EVERY_MS;
    try {
      await this.#reconcile();
      if (this.#preparing) next = SOON_MS;
      if (this.#away) log.info("launcher is back");
      this.#away = false;
    } catch (error) {
      if (!this.#away) log.warn({ err: error }, "launcher is away");
      this.#away = true;
      next = SOON_MS;
    } finally {
      this.#running = false;
    }
    this.#in(next);
  }

  async #reconcile(): Promise<void> {
    const { sandboxes, pool, registry } = this.#options;
    const { capacity, checkpoints, profiles } = await sandboxes.launcher.health();
    sandboxes.admission.capacity = capacity;
    this.#image = profiles[0]?.digest ?? null;
    this.#preparing = checkpoints.state === "preparing";
    pool.fit(capacity, checkpoints.state);
    registry.fit(checkpoints.state);
    const askedAt = performance.now();
    registry.foundAsleep(await sandboxes.launcher.asleep(), askedAt);
    await sandboxes.endDoomed();
    // Read before the launcher's list: a sandbox that is made meanwhile is not in it.
    const placed = sandboxes.admission.sandboxIds;
    const present = (await sandboxes.launcher.list()).filter((sandbox) => sandbox.ended === null);
    const ids = new Set(present.map((sandbox) => sandbox.id));
    sandboxes.admission.leaveAll(new Set([...placed].filter((id) => !ids.has(id))));
    pool.keepStrays(ids);
    const unknown = this.strangers(present);
    // Side by side: one that hangs keeps no other session waiting.
    await Promise.all(
      unknown.map((sandbox) =>
        sandbox.session === null
          ? null
          : this.#try(sandbox, () => this.#adoptSession(sandbox, sandbox.session)),
      ),
    );
    for (const sandbox of unknown) {
      if (this.#stopped || sandbox.session !== null || !this.#settled(sandbox)) continue;
      await this.#try(sandbox, async () => {
        const known = pool.isStray(sandbox.id) && !sandbox.used;
        if (!known || !(await pool.adopt(sandbox))) {
          await sandboxes.end(sandboxes.admission.held(sandbox.id));
        }
      });
    }
  }

  async #try(sandbox: Sandbox, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#options.log.warn({ sandbox: sandbox.id, err: error }, "sandbox not adopted");
    }
  }

  async #adoptSession(sandbox: Sandbox, session: SessionKey | null): Promise<void> {
    if (session === null) return;
    await this.#options.registry.adopt(sandbox, session);
    this.#options.log.info({ sandbox: sandbox.id }, "kernel adopted");
  }

  #settled(sandbox: Sandbox): boolean {
    const created = Date.parse(sandbox.created_at);
    return (
      this.#options.pool.isStray(sandbox.id) ||
      created <= this.#startedAt ||
      created < Date.now() - SETTLED_AFTER_MS
    );
  }
}
