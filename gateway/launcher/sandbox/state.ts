/**
 * One sandbox as the launcher keeps it in memory; the container's labels are the truth that it is made from. Its fields
 * are its own: others tell it what they saw, or ask for a transition, which it refuses where it makes no sense:
 *
 *   starting ── run ──▶ running ── lose ──▶ lost ── run ──▶ running
 *   running ── beginSave ──▶ saving ── finish ──▶ ended; what was not saved goes back by `saveFailed`
 *   each of these ── beginEnd ──▶ ending ── finish ──▶ ended; what could not be removed goes back by `endFailed`
 */
import type { Sandbox, SandboxEnd, SessionKey } from "../../common/protocol/launcher-api.ts";
import type { CpuShare } from "../engine/cpu-share.ts";
import type { Relay } from "../relay/relay.ts";

/**
 * `starting`: create or adoption in progress; `lost`: the stream broke; `saving`: being saved as a checkpoint, with which
 * its container ends; `ending`: being removed; `ended`: gone.
 */
type State =
  | { readonly phase: "starting" | "running" | "lost" | "saving" }
  | { readonly phase: "ending"; readonly back: "running" | "lost" }
  | { readonly phase: "ended"; readonly end: SandboxEnd };

export type Phase = State["phase"];

/** `cold`: started; `template`: from a checkpoint that never ran user code; `woken`: with its session's variables. */
export type Origin = Sandbox["origin"];

export interface SandboxIdentity {
  readonly id: string;
  readonly kind: "session" | "fresh";
  readonly profile: string;
  readonly session: SessionKey | null;
  readonly owner: string | null;
  /** Absent where it was found, not made. */
  readonly tenant?: string | null;
  readonly image: string;
  readonly createdAt: number;
  /** Of the parts that it is made of, where it can be saved as a checkpoint; null where it cannot. */
  readonly checkpointKey: string | null;
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
  #plain = false;
  #origin: Origin = "cold";
  #lost: string | null = null;
  #detachedSince: number | null;
  readonly #unattended: (() => void)[] = [];
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

  /** Of the parts that its container is made of, where it can be saved; null where it cannot. */
  get checkpointKey(): string | null {
    return this.#plain ? null : this.identity.checkpointKey;
  }

  /** Its container will be one that no checkpoint is restored into, nor made of. */
  startPlainly(): void {
    this.#plain = true;
  }

  get origin(): Origin {
    return this.#origin;
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
   * While it starts the start itself sees it, as the saving does while it is saved; after its end there is nothing to learn.
   */
  get death(): "unknown" | "likely" | "certain" {
    const { phase } = this.#state;
    if (phase === "starting" || phase === "saving" || phase === "ended") return "unknown";
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

  /** Its container did not come to life and is no more; another one may be bound. */
  forgetAttempt(): void {
    this.detach();
    this.#used = false;
    this.#containerId = null;
    this.#died = null;
    this.#oomAt = null;
    this.#cause = null;
    this.#streamEnded = false;
  }

  /** How it came to be, and why variables that its session had are not in it. */
  began(origin: Origin, lost: string | null): void {
    this.#origin = origin;
    this.#lost = lost;
  }

  /** The relay of a container that is given up: what it says of its end is nobody's business. */
  detach(): void {
    this.hangUp();
    this.#relay = null;
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

  /** From now on no gateway may attach, and its container's end is no death. Null where this is not the time. */
  beginSave(): Relay | null {
    if (this.#state.phase !== "running" || this.#relay === null || this.#relay.attached) return null;
    this.#state = { phase: "saving" };
    return this.#relay;
  }

  /** It was not saved, and lives on. */
  saveFailed(): void {
    if (this.#state.phase === "saving") this.#state = { phase: "running" };
  }

  /** Its container was not taken over; whoever waits for the start need not any more. */
  refuseTakeOver(): void {
    this.detach();
    this.#started.resolve();
  }

  /** Its stream has broken while it ran. False where this is not so, or not any more. */
  lose(): boolean {
    if (this.#state.phase !== "running" || !this.#streamEnded) return false;
    this.#state = { phase: "lost" };
    this.detach();
    return true;
  }

  /** False when it has ended already. */
  beginEnd(cause: EndCause): boolean {
    const state = this.#state;
    if (state.phase === "ended") return false;
    this.blame(cause);
    if (state.phase !== "ending") {
      const alive = state.phase === "running" || state.phase === "saving";
      this.#state = { phase: "ending", back: alive ? "running" : "lost" };
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

  /** What was lost before has been told. */
  noteExecute(): void {
    this.#lost = null;
  }

  noteGateway(attached: boolean, now: number): void {
    this.#detachedSince = attached ? null : now;
    if (attached) return;
    for (const go of this.#unattended.splice(0)) go();
  }

  /** Resolves when no gateway is attached. */
  async unattended(): Promise<void> {
    if (this.#detachedSince === null) await new Promise<void>((go) => this.#unattended.push(go));
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
      origin: this.#origin,
      lost: this.#lost,
      ended: this.ended,
    };
  }
}
