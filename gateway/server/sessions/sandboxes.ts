/** Sandboxes as the registry and the pool need them: made, attached, greeted, removed for certain. */
import type { Logger } from "pino";
import type { Sandbox, SandboxEnd, SessionKey } from "../../common/protocol/launcher-api.ts";
import {
  type LauncherClient,
  LauncherRefusal,
  LauncherUnavailable,
} from "../../common/protocol/launcher-client.ts";
import { KernelConnection } from "../kernel/connection.ts";
import type { Admission } from "./admission.ts";

/** The profile of the image that the settings name. */
const PROFILE = "default";
/** After a stream's end the launcher may need a moment to know why. */
const END_KNOWN_WITHIN_MS = 5_000;
/** A launcher that was killed is back within this time, or the caller is told that it is away. */
const LAUNCHER_BACK_WITHIN_MS = 15_000;
const ASK_AGAIN_MS = 100;

/** A sandbox was made and did not come to life. */
export class SandboxBroken extends Error {
  override readonly name = "SandboxBroken";
}

export type Fate =
  | { readonly kind: "ended"; readonly end: SandboxEnd }
  /** It lives; only the stream to it broke. */
  | { readonly kind: "alive" }
  | { readonly kind: "unknown" };

export interface OpenedSession {
  readonly connection: KernelConnection;
  readonly status: "new" | "reused";
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Sandboxes {
  readonly launcher: LauncherClient;
  readonly admission: Admission;
  readonly #log: Logger;
  /** To be removed as soon as the launcher takes it. */
  readonly #doomed = new Set<string>();
  readonly #removals = new Map<string, Promise<void>>();

  constructor(launcher: LauncherClient, admission: Admission, log: Logger) {
    this.launcher = launcher;
    this.admission = admission;
    this.#log = log;
  }

  /** True from the decision to remove a sandbox until it is gone. */
  isDoomed(id: string): boolean {
    return this.#doomed.has(id);
  }

  async attach(id: string): Promise<KernelConnection> {
    const { socket, head } = await this.launcher.attach(id);
    try {
      return await KernelConnection.open(id, socket, head);
    } catch (error) {
      throw new SandboxBroken(`Sandbox ${id} does not answer: ${String(error)}`, { cause: error });
    }
  }

  async createFresh(make: "wanted" | "spare", signal: AbortSignal): Promise<KernelConnection> {
    const spec = { kind: "fresh", profile: PROFILE } as const;
    if (make === "spare") {
      const spare = await this.admission.createSpare(spec, signal);
      return this.#attachOrRemove(spare.id);
    }
    const wanted = await this.admission.create(spec, signal);
    try {
      return await this.#attachOrRemove(wanted.id);
    } catch (error) {
      this.admission.leave();
      throw error;
    }
  }

  /** The live sandbox of this session, or a new one on the same volume. */
  async openSession(key: SessionKey, signal: AbortSignal): Promise<OpenedSession> {
    // Twice: a sandbox that is there and does not answer is removed and replaced.
    for (let attempt = 1; ; attempt++) {
      const found = await this.#findOrCreate(key, signal);
      try {
        return { connection: await this.#attachOrRemove(found.id), status: found.status };
      } catch (error) {
        const gone = error instanceof LauncherRefusal && error.code === "not_found";
        if (attempt > 1 || !(gone || error instanceof SandboxBroken)) throw error;
        this.#log.warn({ sandbox: found.id, err: error }, "session sandbox replaced");
      }
    }
  }

  /** Removes for certain: now, or when the launcher is back. */
  remove(id: string): Promise<void> {
    const running = this.#removals.get(id);
    if (running !== undefined) return running;
    const removal = this.#remove(id).finally(() => this.#removals.delete(id));
    this.#removals.set(id, removal);
    return removal;
  }

  async #remove(id: string): Promise<void> {
    this.#doomed.add(id);
    try {
      await this.launcher.remove(id);
      this.#doomed.delete(id);
      this.admission.freed();
    } catch (error) {
      this.#log.warn({ sandbox: id, err: error }, "sandbox not removed yet");
    }
  }

  /** Tries again what could not be removed. */
  async removeDoomed(): Promise<void> {
    for (const id of [...this.#doomed]) await this.remove(id);
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

  async #findOrCreate(
    key: SessionKey,
    signal: AbortSignal,
  ): Promise<{ id: string; status: "new" | "reused" }> {
    try {
      const spec = { kind: "session", profile: PROFILE, session: key } as const;
      return { id: (await this.admission.create(spec, signal)).id, status: "new" };
    } catch (error) {
      if (error instanceof LauncherRefusal && error.code === "session_exists" && error.sandboxId !== null) {
        return { id: error.sandboxId, status: "reused" };
      }
      throw error;
    }
  }

  async #attachOrRemove(id: string): Promise<KernelConnection> {
    try {
      return await this.attach(id);
    } catch (error) {
      if (error instanceof SandboxBroken) await this.remove(id);
      throw error;
    }
  }
}
