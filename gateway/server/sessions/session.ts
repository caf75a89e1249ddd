/** One session: its queue, its kernel while it has one, and what must be told of kernels that it had. */
import type { Readable } from "node:stream";
import type { Sandbox, SessionKey, SleepingSession } from "../../common/protocol/launcher-api.ts";
import { LauncherRefusal } from "../../common/protocol/launcher-client.ts";
import type { Caller } from "../auth/principal.ts";
import type { KernelConnection } from "../kernel/connection.ts";
import type { WorkspaceRead, WorkspaceReading } from "../kernel/workspace-transfer.ts";
import type { Place, Turn } from "./admission.ts";
import { GiveWay } from "./give-way.ts";
import { type KernelLeft, type Lease, type SessionBinding, SessionBusy, SessionClosed } from "./lease.ts";
import { concernsFiles, LOSSES, type Loss } from "./losses.ts";
import { type Asker, Queue } from "./queue.ts";
import type { OpenedSession, Sandboxes } from "./sandboxes.ts";
import { ownerOf } from "./session-key.ts";

/** For a kernel from before a restart to answer. */
const ADOPT_WITHIN_MS = 60_000;

export interface SessionOptions {
  readonly sandboxes: Sandboxes;
  readonly queueLength: number;
  /** How long a call waits for its turn. */
  readonly busyWaitMs: number;
  /** How long a call runs undisturbed while others wait; null: as long as it takes. */
  readonly busyInterruptMs: number | null;
  /** Told of variables that went between two calls; what goes with a call is in its own outcome. */
  readonly onLoss: (loss: Loss) => void;
}

/** As its owner may see it. */
export interface SessionView {
  readonly key: SessionKey;
  /** `none`: it has no kernel now; its files are there. `asleep`: its kernel and variables are, too, with the next call. */
  readonly state: "none" | "asleep" | "idle" | "busy";
  /** Code has run in the present kernel. */
  readonly hasVariables: boolean;
  /** Calls that wait for their turn. */
  readonly waiting: number;
  readonly unusedMs: number;
  /** Of the running call; null while none runs. */
  readonly runningMs: number | null;
}

/** The files of a session that comes from another host could not be read to their end; asked again, they may. */
export class FilesNotHere extends Error {
  override readonly name = "FilesNotHere";
}

export class Session {
  readonly key: SessionKey;
  readonly #options: SessionOptions;
  readonly #queue: Queue;
  readonly #giveWay: GiveWay;
  #kernel: KernelConnection | null = null;
  /** Set while this session is known to have a sandbox, attached or not. */
  #place: Place | null = null;
  #caller: Caller | null = null;
  /** Of its last sandbox. */
  #profile: string | null = null;
  /** Null: nobody knows. It never changes: a session is one principal's. */
  #owner: string | null = null;
  #leased = false;
  /** `performance.now()` of the running call's begin. */
  #runningSince: number | null = null;
  #lastUsedAt = performance.now();
  /** Code has run in the present kernel: there may be variables to lose. */
  #hasState = false;
  /** `performance.now()` of when its kernel was put away, or was found so; whether it is there still the launcher knows. */
  #asleepAt: number | null = null;
  /** Why earlier variables are gone, until someone is told. */
  #lost: string | null = null;
  /** Its kernel is new and the sandbox is not, by a restart or for files that came from another host: the next call is told. */
  #fresh = false;
  /** Its files may have changed since they were last saved. */
  #unsaved = false;
  /** What the last look found, if it was more than is saved. */
  #tooLarge: Extract<WorkspaceRead, { kind: "too_large" }> | null = null;
  /** Of the files as they were last saved; null: nobody knows. */
  #stamp: string | null = null;
  /** `performance.now()` of the last save, or look. */
  #savedAt = Number.NEGATIVE_INFINITY;

  constructor(key: SessionKey, options: SessionOptions) {
    this.key = key;
    this.#options = options;
    this.#queue = new Queue(options.queueLength);
    this.#giveWay = new GiveWay(options.busyInterruptMs, () => this.#kernel?.interrupt() ?? false);
  }

  get sandboxId(): string | null {
    return this.#place?.sandboxId ?? null;
  }

  /** Whose call was the last; null: nobody knows. */
  get caller(): Caller | null {
    return this.#caller;
  }

  get owner(): string | null {
    return this.#owner;
  }

  get view(): SessionView {
    const now = performance.now();
    return {
      key: this.key,
      state: this.#state,
      hasVariables: this.#hasState,
      waiting: this.#queue.length,
      unusedMs: now - this.#lastUsedAt,
      runningMs: this.#runningSince === null ? null : now - this.#runningSince,
    };
  }

  get #state(): SessionView["state"] {
    if (this.#place === null) return this.#asleepAt === null ? "none" : "asleep";
    return this.#queue.idle ? "idle" : "busy";
  }

  get attached(): boolean {
    return this.#kernel !== null;
  }

  /** Its files may have changed since they were last saved for other hosts. */
  get unsaved(): boolean {
    return this.#unsaved;
  }

  /** `performance.now()` of the last look for such changes. */
  get savedAt(): number {
    return this.#savedAt;
  }

  /** Nobody runs or waits here. */
  get idle(): boolean {
    return this.#queue.idle;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** `performance.now()` of the last call's end, or of the adoption. */
  get lastUsedAt(): number {
    return this.#lastUsedAt;
  }

  /** Waits for its turn. Rejects with `SessionBusy`, `SessionClosed`, or as `Admission.turn` and `Sandboxes.openSession` do. */
  async lease(
    { caller, patient = false }: SessionBinding,
    profile: string,
    signal: AbortSignal,
  ): Promise<Lease> {
    if (caller !== null) this.#owner ??= ownerOf(caller);
    const waitedMs = await this.#turn(signal, patient);
    try {
      const { kernel, place, status } = await this.#openFor(caller, profile, signal);
      this.#leased = true;
      this.#runningSince = performance.now();
      this.#giveWay.begin();
      return {
        kernel,
        status,
        waitedMs,
        gaveWay: () => this.#giveWay.gaveWay,
        lostBefore: (variables) => this.#tell(variables),
        fate: () => this.#options.sandboxes.fate(place.sandboxId),
        done: (left) => void this.#done(place, left),
      };
    } catch (error) {
      this.#endTurn();
      throw error;
    }
  }

  /** No call that waits gets a turn any more. */
  retire(): void {
    this.#queue.close();
  }

  /** The time that it took. */
  async #turn(signal: AbortSignal, patient: boolean, asker: Asker = "caller"): Promise<number> {
    const began = performance.now();
    const { busyWaitMs, queueLength } = this.#options;
    const waiting = patient ? null : this.#giveWay.wait();
    const full = this.#queue.length >= queueLength;
    const turn = await this.#queue.acquire(busyWaitMs, signal, asker).finally(waiting);
    const waitedMs = performance.now() - began;
    switch (turn) {
      case "granted":
        return waitedMs;
      case "cancelled":
        throw signal.reason;
      case "closed":
        throw new SessionClosed("The service is shutting down");
      case "busy":
        throw new SessionBusy(
          full
            ? `${queueLength} calls wait for this session already`
            : `The session still ran an earlier call after ${Math.round(waitedMs / 1000)} s of waiting`,
        );
    }
  }

  /** Attaches to a sandbox from before a restart, and ends a call that nobody waits for. */
  async adopt(sandbox: Sandbox): Promise<void> {
    if (this.#place !== null || !this.#queue.tryAcquire()) return;
    try {
      this.#place = this.#options.sandboxes.admission.held(sandbox.id);
      this.#hasState = sandbox.used;
      this.#unsaved = true;
      this.#owner ??= sandbox.owner ?? null;
      await this.#openFor(null, sandbox.profile, AbortSignal.timeout(ADOPT_WITHIN_MS));
      this.#place?.rest();
    } finally {
      this.#endTurn();
    }
  }

  /** Put away by an earlier gateway, or by the launcher alone. */
  foundAsleep({ asleep_ms, owner }: SleepingSession, askedAt: number): void {
    if (this.#place !== null || !this.#queue.idle || this.#asleepAt !== null) return;
    this.#asleepAt = askedAt;
    this.#lastUsedAt = askedAt - asleep_ms;
    this.#hasState = true;
    this.#owner ??= owner;
  }

  /** What was saved of it before `askedAt` is there no more; its next sandbox says why. */
  notFoundAsleep(askedAt: number): void {
    if (this.#asleepAt === null || this.#asleepAt > askedAt || !this.#queue.idle) return;
    this.#asleepAt = null;
    if (this.#hasState) this.#options.onLoss("ended");
    this.#hasState = false;
  }

  /** Ends the kernel, unless somebody uses it; the files stay. The sandbox that went, or null. */
  async end(why: Loss): Promise<string | null> {
    if (this.#place === null || !this.#queue.tryAcquire()) return null;
    try {
      const hadState = this.#hasState;
      if (hadState) this.#options.onLoss(why);
      const place = this.#lose(why);
      if (place !== null) await this.#options.sandboxes.end(place, hadState ? LOSSES[why] : null);
      return place?.sandboxId ?? null;
    } finally {
      this.#queue.release();
    }
  }

  /**
   * It comes from another host: nothing is left of what was here, `files` are unpacked if they can be, and its next call is told why.
   * Rejects as `forget` and `lease` do, and with `FilesNotHere` when the archive breaks off.
   */
  async arrive(
    why: "host_lost" | "moved",
    files: Readable | null,
    profile: string,
    signal: AbortSignal,
  ): Promise<"restored" | "without_files"> {
    await this.forget(signal);
    const restored = files !== null && (await this.#unpack(files, profile, signal));
    const loss = restored ? (`${why}_saved` as const) : why;
    this.#lost = LOSSES[loss];
    this.#options.onLoss(loss);
    return restored ? "restored" : "without_files";
  }

  /** False: the files cannot be unpacked here, and nothing of them is left. */
  async #unpack(files: Readable, profile: string, signal: AbortSignal): Promise<boolean> {
    await this.#turn(signal, true);
    try {
      const { kernel, place } = await this.#openFor(null, profile, signal);
      const failed = await kernel.writeWorkspace(files);
      place.rest();
      if (failed === null) {
        this.#fresh = true;
        return true;
      }
      this.#lose(null);
      await this.#options.sandboxes.end(place);
      await this.#options.sandboxes.forget(this.key);
      if (failed.of === "files") return false;
      throw new FilesNotHere(`The session's files did not come: ${failed.reason}`);
    } finally {
      files.destroy();
      this.#endTurn();
    }
  }

  /**
   * Packs the files, unless they are as they were when they were last saved. `patient`: it waits for the running call, and opens a
   * kernel where there is none; else `busy`. Rejects as `lease` does.
   */
  async save(
    reading: Omit<WorkspaceReading, "unless">,
    {
      patient,
      profile,
      signal,
    }: { readonly patient: boolean; readonly profile: string; readonly signal: AbortSignal },
  ): Promise<WorkspaceRead | { readonly kind: "busy" }> {
    if (patient) await this.#turn(signal, true, "service");
    else if (this.#kernel?.usable !== true || !this.#queue.tryAcquire()) return { kind: "busy" };
    try {
      if (!this.#unsaved) return this.#tooLarge ?? { kind: "unchanged" };
      const kernel = this.#kernel?.usable === true ? this.#kernel : await this.#reopen(profile, signal);
      const read = await kernel.readWorkspace({ ...reading, unless: this.#stamp });
      this.#savedAt = performance.now();
      if (read.kind === "read") this.#stamp = read.stamp;
      // What is too large now may be smaller after its next call.
      if (read.kind !== "failed") this.#unsaved = false;
      this.#tooLarge = read.kind === "too_large" ? read : null;
      return read;
    } finally {
      this.#queue.release();
    }
  }

  async #reopen(profile: string, signal: AbortSignal): Promise<KernelConnection> {
    const caller = this.#caller;
    const { kernel, place } = await this.#openFor(null, this.#profile ?? profile, signal);
    this.#caller = caller;
    place.rest();
    return kernel;
  }

  /** The running call ends as soon as it can, variables are kept. False: none runs. */
  interrupt(): boolean {
    return this.#kernel?.interrupt() ?? false;
  }

  /** Ends the kernel, whatever runs in it; files stay, and the next call is told. False: there was none. */
  async restart(): Promise<boolean> {
    const place = this.#place;
    if (place === null) return this.#forgetAsleep();
    if (await this.#restartKernel()) return true;
    if ((await this.end("asked")) !== null) return true;
    // Whoever's call runs is told by its own outcome.
    await this.#options.sandboxes.end(place);
    return true;
  }

  /** In its sandbox, which takes a tenth of the time of a new one. False: a call runs, or the sandbox is to be ended instead. */
  async #restartKernel(): Promise<boolean> {
    const kernel = this.#kernel;
    if (kernel?.usable !== true || !this.#queue.tryAcquire()) return false;
    try {
      if (!(await kernel.restart())) return false;
      if (this.#hasState) {
        this.#lost = LOSSES.asked;
        this.#options.onLoss("asked");
      }
      this.#hasState = false;
      this.#fresh = true;
      return true;
    } finally {
      this.#queue.release();
    }
  }

  /** False: it does not sleep, or wakes with a call just now. */
  async #forgetAsleep(): Promise<boolean> {
    if (this.#asleepAt === null || !this.#queue.tryAcquire()) return false;
    try {
      const gone = await this.#options.sandboxes.launcher.forgetVariables(this.key, LOSSES.asked);
      this.#asleepAt = null;
      this.#hasState = false;
      if (gone) this.#options.onLoss("asked");
      return gone;
    } finally {
      this.#queue.release();
    }
  }

  /**
   * Ends the kernel, whatever runs in it, and removes the files, after the calls that wait already. False: there was
   * nothing. Rejects with `SessionBusy`, `SessionClosed`, `LauncherRefusal`, `LauncherUnavailable` or the signal's reason.
   */
  async forget(signal: AbortSignal): Promise<boolean> {
    if (this.#place !== null && !this.#queue.idle) await this.#options.sandboxes.end(this.#place);
    return this.depart(signal);
  }

  /** Likewise, and lets the running call end first. */
  async depart(signal: AbortSignal): Promise<boolean> {
    const { sandboxes } = this.#options;
    await this.#turn(signal, true, "service");
    try {
      const place = this.#lose(null);
      this.#lost = null;
      this.#asleepAt = null;
      this.#fresh = false;
      this.#unsaved = false;
      this.#tooLarge = null;
      this.#stamp = null;
      if (place !== null) await sandboxes.end(place);
      return (await sandboxes.forget(this.key)) || place !== null;
    } finally {
      this.#endTurn();
    }
  }

  /**
   * Puts kernel and variables away until the next call, unless somebody uses them; its place is free then. False: it is
   * as it was before. Rejects with `LauncherRefusal` where it cannot sleep or was lost, and `LauncherUnavailable`.
   */
  async sleep(): Promise<boolean> {
    const place = this.#place;
    if (place === null || !this.#queue.tryAcquire()) return false;
    try {
      // The launcher talks to the supervisor alone; where the kernel stays awake, the next call attaches again.
      this.#kernel?.release();
      this.#kernel = null;
      if ((await this.#options.sandboxes.launcher.sleep(place.sandboxId)) === "busy") return false;
      this.#leave(place);
      this.#asleepAt = performance.now();
      return true;
    } catch (error) {
      // What was lost is told by the session's next sandbox.
      if (error instanceof LauncherRefusal && error.code !== "cannot_sleep") {
        // It ended while nobody asked for it, or as it was saved; an engine that is away has lost nothing yet.
        if (this.#hasState && error.code !== "engine_unavailable")
          this.#options.onLoss(await this.#whyGone(place));
        this.#leave(place);
        this.#hasState = false;
      }
      throw error;
    } finally {
      this.#queue.release();
    }
  }

  /** Lets go of the stream; the sandbox stays for the next gateway. */
  release(): void {
    this.#kernel?.release();
  }

  async #openFor(caller: Caller | null, profile: string, signal: AbortSignal): Promise<OpenedSession> {
    const turn = await this.#options.sandboxes.admission.turn(caller, signal);
    try {
      const opened = await this.#open(profile, turn, signal);
      opened.place.use(turn);
      this.#caller = caller;
      return opened;
    } catch (error) {
      turn.end();
      throw error;
    }
  }

  /** To be called with the queue's turn held. */
  async #open(profile: string, turn: Turn, signal: AbortSignal): Promise<OpenedSession> {
    await this.#changeTo(profile);
    const [kernel, place] = [this.#kernel, this.#place];
    if (kernel?.usable === true && place !== null) {
      const status = this.#fresh ? "new" : "reused";
      this.#fresh = false;
      return { kernel, place, status, lost: null };
    }
    const had = { known: place, begins: place === null && this.#asleepAt === null };
    const opened = await this.#options.sandboxes.openSession(this.key, profile, had, turn, signal);
    this.#lost ??= opened.lost;
    if (opened.status === "new" && this.#hasState) {
      const why = await this.#whyGone(place);
      this.#lost ??= LOSSES[why];
      this.#options.onLoss(why);
    }
    this.#hasState = opened.status === "reused" && (this.#hasState || opened.kernel.executionCount > 0);
    if (place !== null && place !== opened.place) place.leave();
    this.#bind(opened);
    return opened;
  }

  /** The settings may give its tenant another profile than its sandbox from before a restart has. */
  async #changeTo(profile: string): Promise<void> {
    const before = this.#profile;
    this.#profile = profile;
    if (this.#place === null || before === null || before === profile) return;
    if (this.#hasState) this.#options.onLoss("profile");
    const place = this.#lose("profile");
    if (place !== null) await this.#options.sandboxes.end(place);
  }

  #bind({ kernel, place }: OpenedSession): void {
    this.#kernel = kernel;
    this.#place = place;
    this.#asleepAt = null;
    void kernel.ended.then((end) => {
      if (this.#kernel !== kernel) return;
      // Where only the stream broke, the sandbox is there still: the next call looks for it.
      this.#kernel = null;
      if (end.why !== "violation") return;
      // The call that it broke off tells of it.
      if (!this.#leased && this.#hasState) this.#options.onLoss("protocol");
      this.#lose(this.#leased ? null : "protocol");
      void this.#options.sandboxes.end(place);
    });
  }

  async #done(place: Place, left: KernelLeft | null): Promise<void> {
    // Who was stopped may not read what became of it: the next call is told.
    const why = this.#giveWay.gaveWay ? "unstoppable" : null;
    this.#giveWay.end();
    if (left?.after === "gone") {
      this.#lose(why);
      await this.#options.sandboxes.end(place);
    } else if (left !== null) {
      if (left.after === "restarted" && this.#hasState && why !== null) this.#lost = LOSSES[why];
      this.#hasState = left.after === "kept" || left.cells > 0;
    }
    this.#leased = false;
    this.#runningSince = null;
    this.#unsaved = true;
    this.#endTurn();
    place.rest();
  }

  #leave(place: Place): void {
    place.leave();
    this.#place = null;
  }

  /** The session's sandbox is to be no more, and why; null: whom it concerns knows. */
  #lose(why: Loss | null): Place | null {
    if (this.#hasState && why !== null) this.#lost = LOSSES[why];
    this.#hasState = false;
    this.#kernel?.release();
    this.#kernel = null;
    const place = this.#place;
    this.#place = null;
    return place;
  }

  #tell(variables: boolean): string | null {
    const lost = this.#lost;
    if (lost === null || !(variables || concernsFiles(lost))) return null;
    this.#lost = null;
    return lost;
  }

  #endTurn(): void {
    this.#lastUsedAt = performance.now();
    this.#queue.release();
  }

  async #whyGone(place: Place | null): Promise<Loss> {
    if (place === null) return "ended";
    try {
      const sandbox = await this.#options.sandboxes.launcher.inspect(place.sandboxId);
      const reason = sandbox?.ended?.reason;
      return reason === "out_of_memory" || reason === "disk_failed" ? reason : "ended";
    } catch {
      return "ended";
    }
  }
}
