/** One sandbox as the launcher keeps it in memory; the container's labels are the truth that it is made from. */
import type { Sandbox, SandboxEnd, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Relay } from "../relay/relay.ts";
import type { CpuShare } from "./cpu-share.ts";

/** `starting`: create or adoption in progress; `lost`: the stream broke; `ending`: being removed; `ended`: gone. */
export type Phase = "starting" | "running" | "lost" | "ending" | "ended";

export interface SandboxIdentity {
  readonly id: string;
  readonly kind: "session" | "fresh";
  readonly profile: string;
  readonly session: SessionKey | null;
  readonly image: string;
  readonly createdAt: number;
}

export class SandboxState {
  readonly identity: SandboxIdentity;
  readonly #started = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  phase: Phase = "starting";
  containerId: string | null = null;
  relay: Relay | null = null;
  cpu: CpuShare | null = null;
  cpuTimer: NodeJS.Timeout | null = null;
  settleTimer: NodeJS.Timeout | null = null;
  used: boolean;
  detachedSince: number | null;
  /** Time of the engine's last word that the host's kernel killed something at the memory limit. */
  oomAt: number | null = null;
  died: { readonly exitCode: number | null } | null = null;
  streamEnded = false;
  /** Why it ends, set by whoever ended it first. */
  cause: { readonly reason: SandboxEnd["reason"]; readonly detail?: string } | null = null;
  ended: SandboxEnd | null = null;

  constructor(identity: SandboxIdentity, used: boolean, now: number) {
    this.identity = identity;
    this.used = used;
    this.detachedSince = now;
  }

  /** Settles when the sandbox runs or has failed to. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Settles when container and mounts are gone. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  markStarted(): void {
    this.#started.resolve();
  }

  markGone(): void {
    this.#started.resolve();
    this.#gone.resolve();
  }

  clearTimers(): void {
    if (this.cpuTimer !== null) clearTimeout(this.cpuTimer);
    if (this.settleTimer !== null) clearTimeout(this.settleTimer);
    this.cpuTimer = null;
    this.settleTimer = null;
  }

  view(): Sandbox {
    const { id, kind, profile, session, image, createdAt } = this.identity;
    return {
      id,
      container_id: this.containerId ?? "",
      kind,
      profile,
      session,
      image,
      created_at: new Date(createdAt).toISOString(),
      used: this.used,
      attached: this.relay?.attached ?? false,
      ended: this.ended,
    };
  }
}
