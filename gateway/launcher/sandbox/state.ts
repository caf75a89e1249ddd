/**
 * One sandbox as the launcher keeps it in memory; the container's labels are the truth that it is made from. Its fields
 * are its own: others tell it what they saw, or ask for a transition, which it refuses where it makes no sense:
 *
 *   starting ── run ──▶ running ── lose ──▶ lost ── run ──▶ running
 *   each of these ── beginEnd ──▶ ending ── finish ──▶ ended; what could not be removed goes back by `endFailed`
 */
import type { Sandbox, SandboxEnd, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Relay } from "../relay/relay.ts";
import type { CpuShare } from "./cpu-share.ts";

/** `starting`: create or adoption in progress; `lost`: the stream broke; `ending`: being removed; `ended`: gone. */
type State =
  | { readonly phase: "starting" | "running" | "lost" }
  | { readonly phase: "ending"; readonly back: "running" | "lost" }
  | { readonly phase: "ended"; readonly end: SandboxEnd };

export type Phase = State["phase"];

export interface SandboxIdentity {
  readonly id: string;
  readonly kind: "session" | "fresh";
  readonly profile: string;
  readonly session: SessionKey | null;
  readonly owner: string | null;
  readonly image: string;
  readonly createdAt: number;
}

/** Why a sandbox ends. */
export interface EndCause {
  readonly reason: SandboxEnd["reason"];
  readonly detail?: string;
}

export class SandboxState {
  readonly identity: SandboxIdentity;
  readonly #started = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  #state: State = { phase: "starting" };
  #containerId: string | null = null;
  #relay: Relay | null = null;
  #lifted: { readonly cpu: CpuShare; readonly overdue: NodeJS.Timeout } | null = null;
  #settling: NodeJS.Timeout | null = null;
  #used: boolean;
  #detachedSince: number | null;
  #oomAt: number | null = null;
  #died: { readonly exitCode: number | null } | null = null;
  #streamEnded = false;
  #cause: EndCause | null = null;

  constructor(identity: SandboxIdentity, used: boolean, now: number) {
    this.identity = identity;
    this.#used = used;
    this.#detachedSince = now;
  }

  get phase(): Phase {
    return this.#state.phase;
  }

  get containerId(): string | null {
    return this.#containerId;
  }

  /** Where gateways attach; null while it does not run. */
  get serving(): Relay | null {
    return this.#state.phase === "running" ? this.#relay : null;
  }

  /** Somebody's files or code have been in it, or may have. */
  get used(): boolean {
    return this.#used;
  }

  /** Since when no gateway is attached; null while one is. */
  get detachedSince(): number | null {
    return this.#detachedSince;
  }

  /** Time of the engine's last word that the host's kernel killed something at the memory limit. */
  get oomAt(): number | null {
    return this.#oomAt;
  }

  /** What the engine said of its death; null while it said nothing. */
  get died(): { readonly exitCode: number | null } | null {
    return this.#died;
  }

  /** Why it ends: the word of whoever ended it first. */
  get cause(): EndCause | null {
    return this.#cause;
  }

  /** Its end was asked for and not carried out. What merely was not taken over is not meant: it may be, next time. */
  get condemned(): boolean {
    if (this.#state.phase !== "running" && this.#state.phase !== "lost") return false;
    return this.#cause !== null && this.#cause.reason !== "engine_lost";
  }

  get ended(): SandboxEnd | null {
    return this.#state.phase === "ended" ? this.#state.end : null;
  }

  /**
   * What is known of its death: `certain` when stream and engine agree, `likely` when one of them alone speaks of it.
   * While it starts the start itself sees it, and after its end there is nothing to learn.
   */
  get death(): "unknown" | "likely" | "certain" {
    if (this.#state.phase === "starting" || this.#state.phase === "ended") return "unknown";
    if (this.#died !== null && this.#streamEnded) return "certain";
    return this.#died !== null || this.#streamEnded ? "likely" : "unknown";
  }

  /** Settles when the sandbox runs or has failed to. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** Settles when container and mounts are gone. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  bind(containerId: string): void {
    this.#containerId = containerId;
  }

  /** `relay` stands on a new stream of the container's. */
  attach(relay: Relay): void {
    this.#relay = relay;
    this.#streamEnded = false;
  }

  /** From now on gateways may attach. False when something has ended it meanwhile. */
  run(now: number): boolean {
    const { phase } = this.#state;
    if (phase !== "lost" && (phase !== "starting" || this.#cause !== null)) return false;
    this.#state = { phase: "running" };
    // It was given up when it could not be taken over, and answers after all.
    if (this.#cause?.reason === "engine_lost") this.#cause = null;
    this.#detachedSince = now;
    this.#started.resolve();
    return true;
  }

  /** Its container was not taken over; whoever waits for the start need not any more. */
  refuseTakeOver(): void {
    this.hangUp();
    this.#relay = null;
    this.#started.resolve();
  }

  /** Its stream has broken while it ran. False where this is not so, or not any more. */
  lose(): boolean {
    if (this.#state.phase !== "running" || !this.#streamEnded) return false;
    this.#state = { phase: "lost" };
    this.hangUp();
    this.#relay = null;
    return true;
  }

  /** False when it has ended already. */
  beginEnd(cause: EndCause): boolean {
    const state = this.#state;
    if (state.phase === "ended") return false;
    this.blame(cause);
    if (state.phase !== "ending") {
      this.#state = { phase: "ending", back: state.phase === "running" ? "running" : "lost" };
    }
    return true;
  }

  /** Its container is still there: whatever it was before, it is again; what never ran may be taken over. */
  endFailed(): void {
    if (this.#state.phase === "ending") this.#state = { phase: this.#state.back };
  }

  /** False when it has ended already; the first word about the end stays. */
  finish(end: SandboxEnd): boolean {
    this.letGo();
    if (this.#state.phase === "ended") return false;
    this.#state = { phase: "ended", end };
    return true;
  }

  /** Container and mounts are gone. */
  markGone(): void {
    this.#started.resolve();
    this.#gone.resolve();
  }

  /** Why it ends, unless that is known; returns what counts. */
  blame(cause: EndCause): EndCause {
    this.#cause ??= cause;
    return this.#cause;
  }

  noteUse(): void {
    this.#used = true;
  }

  noteGateway(attached: boolean, now: number): void {
    this.#detachedSince = attached ? null : now;
  }

  noteOom(now: number): void {
    this.#oomAt = now;
  }

  /** `null`: the engine does not say with which code. */
  noteDeath(exitCode: number | null): void {
    this.#died ??= { exitCode };
  }

  /** The end of an older stream than the present one says nothing: false. */
  noteStreamEnd(relay: Relay): boolean {
    if (this.#relay !== relay) return false;
    this.#streamEnded = true;
    return true;
  }

  /** Its CPU share is lifted; `overdue` is called when nobody has taken the share back within `withinMs`. */
  lifted(cpu: CpuShare, withinMs: number, overdue: () => void): void {
    this.#lifted = { cpu, overdue: setTimeout(overdue, withinMs) };
  }

  /** The share to put back, once; null when it is not lifted. */
  takeLifted(): CpuShare | null {
    const lifted = this.#lifted;
    this.#lifted = null;
    clearTimeout(lifted?.overdue);
    return lifted?.cpu ?? null;
  }

  /** Calls `settle` after `ms`, unless that is to happen already or it ends before. */
  settleAfter(ms: number, settle: () => void): void {
    if (this.#settling !== null) return;
    this.#settling = setTimeout(() => {
      this.#settling = null;
      settle();
    }, ms);
  }

  /** Ends the gateway's stream and ours to the container, which lives on. */
  hangUp(): void {
    this.#relay?.close();
  }

  /** Ends streams and timers: nothing of it keeps this process. */
  letGo(): void {
    this.takeLifted();
    clearTimeout(this.#settling ?? undefined);
    this.#settling = null;
    this.hangUp();
  }

  view(): Sandbox {
    const { id, kind, profile, session, owner, image, createdAt } = this.identity;
    return {
      id,
      container_id: this.#containerId ?? "",
      kind,
      profile,
      session,
      owner,
      image,
      created_at: new Date(createdAt).toISOString(),
      used: this.#used,
      attached: this.#relay?.attached ?? false,
      ended: this.ended,
    };
  }
}
