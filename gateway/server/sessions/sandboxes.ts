/** Sandboxes as the registry and the pool need them: made, attached, greeted, removed for certain. */

import type { Logger } from "pino";
import type { CreateSandbox, Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import {
  type LauncherClient,
  LauncherRefusal,
  LauncherUnavailable,
} from "../../common/protocol/launcher-client.ts";
import { tenantOf } from "../auth/principal.ts";
import { KernelConnection } from "../kernel/connection.ts";
import type { Admission, Place, Turn } from "./admission.ts";
import type { Fate, KernelStatus } from "./lease.ts";
import { ownerOf, tenantDigest } from "./session-key.ts";

/** After a stream's end the launcher may need a moment to know why. */
const END_KNOWN_WITHIN_MS = 5_000;
/** A launcher that was killed is back within this time, or the caller is told that it is away. */
const LAUNCHER_BACK_WITHIN_MS = 15_000;
const ASK_AGAIN_MS = 100;

/** A sandbox was made and did not come to life. */
export class SandboxBroken extends Error {
  override readonly name = "SandboxBroken";
}

/** A kernel that has said hello, and the place of its sandbox. */
export interface Opened {
  readonly kernel: KernelConnection;
  readonly place: Place;
}

export interface OpenedSession extends Opened {
  readonly status: KernelStatus;
  /** Why variables of earlier calls are not there; null where there is nothing to tell. */
  readonly lost: string | null;
}

/** A sandbox to attach to. */
interface Found {
  readonly place: Place;
  readonly status: KernelStatus;
  readonly lost: string | null;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Sandboxes {
  readonly launcher: LauncherClient;
  readonly admission: Admission;
  readonly #log: Logger;
  /** To be removed as soon as the launcher takes it. */
  readonly #doomed = new Map<string, { readonly place: Place; readonly lost: string | null }>();
  readonly #removals = new Map<string, Promise<void>>();

  constructor(launcher: LauncherClient, admission: Admission, log: Logger) {
    this.launcher = launcher;
    this.admission = admission;
    this.#log = log;
  }

  /** True from the decision to end a sandbox until it is gone. */
  isDoomed(id: string): boolean {
    return this.#doomed.has(id);
  }

  /** Sandboxes that are to go and are not gone yet. */
  get doomed(): number {
    return this.#doomed.size;
  }

  /** A removal was tried and not carried out. */
  get stuck(): boolean {
    for (const id of this.#doomed.keys()) if (!this.#removals.has(id)) return true;
    return false;
  }

  /** Rejects with `SandboxBroken`, `LauncherRefusal` or `LauncherUnavailable`; the sandbox is left as it is. */
  async attach(place: Place): Promise<Opened> {
    const id = place.sandboxId;
    // What was decided about it stands, although the launcher does not know yet.
    if (this.isDoomed(id)) throw new SandboxBroken(`Sandbox ${id} is to be removed`);
    const { socket, head } = await this.launcher.attach(id);
    try {
      return { kernel: await KernelConnection.open(id, socket, head), place };
    } catch (error) {
      throw new SandboxBroken(`Sandbox ${id} does not answer: ${String(error)}`, { cause: error });
    }
  }

  /** For a call whose turn it is. */
  async createFresh(profile: string, turn: Turn, signal: AbortSignal): Promise<Opened> {
    return this.#attachNew((await this.admission.create({ kind: "fresh", profile }, turn, signal)).place);
  }

  /** Only if there is room. */
  async createSpare(profile: string, signal: AbortSignal): Promise<Opened> {
    return this.#attachNew(await this.admission.createSpare({ kind: "fresh", profile }, signal));
  }

  async #attachNew(place: Place): Promise<Opened> {
    try {
      return await this.attach(place);
    } catch (error) {
      // Nobody knows of it yet, and nobody will.
      void this.end(place);
      throw error;
    }
  }

  /**
   * The live sandbox of this session (`known`: its place, for which no other one is made free), the one that slept, or a new one of
   * the profile on the same volume. `begins`: nobody knows of one that it had.
   */
  async openSession(
    session: SessionKey,
    profile: string,
    { known, begins }: { readonly known: Place | null; readonly begins: boolean },
    turn: Turn,
    signal: AbortSignal,
  ): Promise<OpenedSession> {
    const { caller } = turn;
    const owner =
      caller === null ? {} : { owner: ownerOf(caller), tenant: tenantDigest(tenantOf(caller.key)) };
    const spec = { kind: "session", profile, session, ...owner } as const;
    // Again: a sandbox that is there and does not answer is removed and replaced.
    for (let attempt = known === null ? 1 : 0; ; attempt++) {
      const found =
        known !== null && attempt === 0
          ? await this.#asItIs(known)
          : await this.#findOrCreate(spec, turn, signal, begins);
      const { place, status, lost } = found;
      try {
        return { ...(await this.attach(place)), status, lost };
      } catch (error) {
        const gone = error instanceof LauncherRefusal && error.code === "not_found";
        if (gone) place.leave();
        else if (error instanceof SandboxBroken) await this.end(place);
        if (attempt > 1 || !(gone || error instanceof SandboxBroken)) throw error;
        this.#log.warn({ sandbox: place.sandboxId, err: error }, "session sandbox replaced");
      }
    }
  }

  /**
   * Removes for certain: now, or when the launcher is back; then its place is free. Never rejects. `lost`: why a session's
   * variables are gone, where that is still to be told.
   */
  end(place: Place, lost: string | null = null): Promise<void> {
    const id = place.sandboxId;
    const running = this.#removals.get(id);
    if (running !== undefined) return running;
    const removal = this.#end(place, lost).finally(() => this.#removals.delete(id));
    this.#removals.set(id, removal);
    return removal;
  }

  async #end(place: Place, lost: string | null): Promise<void> {
    const id = place.sandboxId;
    this.#doomed.set(id, { place, lost });
    try {
      await this.launcher.remove(id, lost);
      this.#doomed.delete(id);
      place.leave();
    } catch (error) {
      this.#log.warn({ sandbox: id, err: error }, "sandbox not removed yet");
    }
  }

  /** Removes a session's data, and a sandbox of it that nobody here knew. False: there was none. */
  async forget(key: SessionKey): Promise<boolean> {
    try {
      return await this.launcher.forget(key);
    } catch (error) {
      const there =
        error instanceof LauncherRefusal && error.code === "session_exists" ? error.sandboxId : null;
      if (there === null) throw error;
      await this.end(this.admission.held(there));
      return this.launcher.forget(key);
    }
  }

  /** Tries again what could not be removed. */
  async endDoomed(): Promise<void> {
    for (const { place, lost } of [...this.#doomed.values()]) await this.end(place, lost);
  }

  /** Why the stream to a sandbox ended. Rejects with `LauncherUnavailable` when nobody can say. */
  async fate(id: string): Promise<Fate> {
    const started = performance.now();
    let backSince = started;
    let wasAway = false;
    for (;;) {
      const now = performance.now();
      const waited = now - backSince > END_KNOWN_WITHIN_MS;
      try {
        const sandbox: Sandbox | null = await this.launcher.inspect(id);
        if (sandbox !== null && sandbox.ended !== null) return { kind: "ended", end: sandbox.ended };
        if (sandbox !== null && (wasAway || waited)) return { kind: "alive" };
        // A launcher that has just started answers before it has found its containers.
        if (sandbox === null && waited) return { kind: "unknown" };
      } catch (error) {
        if (!(error instanceof LauncherUnavailable) || now - started > LAUNCHER_BACK_WITHIN_MS) throw error;
        wasAway = true;
        backSince = now;
      }
      await pause(ASK_AGAIN_MS);
    }
  }

  async #asItIs(place: Place): Promise<Found> {
    const sandbox = await this.launcher.inspect(place.sandboxId);
    return { place, status: "reused", lost: sandbox?.lost ?? null };
  }

  async #findOrCreate(spec: CreateSandbox, turn: Turn, signal: AbortSignal, begins: boolean): Promise<Found> {
    try {
      const { place, sandbox } = await this.admission.create(spec, turn, signal, begins);
      return { place, status: sandbox.origin === "woken" ? "reused" : "new", lost: sandbox.lost };
    } catch (error) {
      if (error instanceof LauncherRefusal && error.code === "session_exists" && error.sandboxId !== null) {
        return this.#asItIs(this.admission.held(error.sandboxId));
      }
      throw error;
    }
  }
}
