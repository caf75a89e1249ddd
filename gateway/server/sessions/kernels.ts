/** The one door to kernels. Behind it: the pool for calls without a session, the registry for all others, and recovery. */
import type { Logger } from "pino";
import { profileTable } from "../../common/profiles.ts";
import type { Sandbox } from "../../common/protocol/launcher-api.ts";
import type { LauncherClient } from "../../common/protocol/launcher-client.ts";
import type { Settings } from "../../common/settings/read.ts";
import type { TenantCaller } from "../auth/principal.ts";
import { Admission } from "./admission.ts";
import type { Binding, Lease } from "./lease.ts";
import type { Loss } from "./losses.ts";
import { OwnedSessions } from "./owned.ts";
import { Pools } from "./pools.ts";
import { Recovery } from "./recovery.ts";
import { Registry } from "./registry.ts";
import { Sandboxes } from "./sandboxes.ts";
import { TravellingSessions } from "./travelling.ts";

/** How long a call waits for room on a full host; clients know how to come back. */
export const WAIT_FOR_ROOM_MS = 15_000;

export interface KernelsOptions {
  readonly settings: Pick<
    Settings,
    | "poolSize"
    | "idleMs"
    | "sleepAfterMs"
    | "queueLength"
    | "busyWaitMs"
    | "busyInterruptMs"
    | "profile"
    | "image"
    | "profiles"
    | "tenantProfiles"
  >;
  readonly launcher: LauncherClient;
  /** Sandboxes that are made at the same time. */
  readonly concurrency: number;
  /** Told of a session's variables that went between two of its calls. */
  readonly onLoss?: (loss: Loss) => void;
  readonly log: Logger;
}

export interface KernelFigures {
  /** Spare sandboxes. */
  readonly poolReady: number;
  /** Spare sandboxes that are to be there. */
  readonly poolWanted: number;
  /** Sessions with a kernel. */
  readonly live: number;
  /** Calls that wait for their session or for a place. */
  readonly waiting: number;
  /** Places in which calls run. */
  readonly busy: number;
  /** Sandboxes that are to go and are not gone yet. */
  readonly doomed: number;
}

export class Kernels {
  readonly pool: Pools;
  readonly registry: Registry;
  readonly owned: OwnedSessions;
  readonly travelling: TravellingSessions;
  readonly #admission: Admission;
  readonly #sandboxes: Sandboxes;
  readonly #recovery: Recovery;
  readonly #settings: KernelsOptions["settings"];

  constructor({ settings, launcher, concurrency, onLoss = () => {}, log }: KernelsOptions) {
    const admission = new Admission({ launcher, concurrency, waitMs: WAIT_FOR_ROOM_MS });
    this.#admission = admission;
    const sandboxes = new Sandboxes(launcher, admission, log);
    this.#settings = settings;
    const profiles = profileTable(settings).map(({ name }) => name);
    this.pool = new Pools(profiles, sandboxes, settings.poolSize, log);
    this.#sandboxes = sandboxes;
    this.registry = new Registry({ ...settings, sandboxes, onLoss, log });
    this.owned = new OwnedSessions(this.registry);
    this.travelling = new TravellingSessions(this.registry, admission, () => this.image, settings.profile);
    this.#recovery = new Recovery({ sandboxes, pool: this.pool, registry: this.registry, log });
  }

  /**
   * Rejects with `SessionBusy`, `SessionClosed`, `CallerFull`, `HostFull`, `SandboxBroken`, `LauncherRefusal`,
   * `LauncherUnavailable`, or the signal's reason.
   */
  lease(binding: Binding, signal: AbortSignal): Promise<Lease> {
    const profile = this.profileOf(binding.caller);
    return binding.kind === "fresh"
      ? this.pool.of(profile).lease(binding.caller, signal)
      : this.registry.lease(binding, profile, signal);
  }

  /** What the caller's sandboxes have: its tenant's, else everybody's; the service itself has that, too. */
  profileOf(caller: TenantCaller | null): string {
    const { profile, tenantProfiles } = this.#settings;
    return (caller === null ? undefined : tenantProfiles?.get(caller.tenant)) ?? profile;
  }

  /** Calls run in every place of this host. */
  get full(): boolean {
    return this.#admission.full;
  }

  /** Digest of the image that new sandboxes have; null while it is not known. */
  get image(): string | null {
    return this.#recovery.image;
  }

  get figures(): KernelFigures {
    return {
      poolReady: this.pool.ready,
      poolWanted: this.pool.wanted,
      live: this.registry.live,
      waiting: this.registry.waiting + this.#admission.waiting,
      busy: this.#admission.busy,
      doomed: this.#sandboxes.doomed,
    };
  }

  /** How many of the launcher's sandboxes nobody here answers for; one on its way to a caller may be among them. */
  unowned(present: readonly Sandbox[]): number {
    return this.#recovery.strangers(present.filter(({ ended }) => ended === null)).length;
  }

  /** Finds what an earlier gateway left, then fills the pool and ends idle sessions. Resolves after the first look. */
  start(): Promise<void> {
    return this.#recovery.start();
  }

  /** Takes over nothing more, and lets nobody wait: from now on sandboxes that nobody here holds are the next gateway's. */
  retire(): void {
    this.#recovery.stop();
    this.registry.retire();
  }

  /** Lets go of every stream; the sandboxes stay for the next gateway. */
  stop(): void {
    this.#recovery.stop();
    this.pool.stop();
    this.registry.stop();
  }
}
