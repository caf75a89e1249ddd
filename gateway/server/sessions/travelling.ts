/** Sessions that come from other hosts and go to them: what their fleet asks of this one's. */
import type { Readable } from "node:stream";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { WorkspaceReading } from "../kernel/workspace-transfer.ts";
import { type Admission, HostFull } from "./admission.ts";
import type { Registry } from "./registry.ts";
import { SandboxBroken } from "./sandboxes.ts";
import { FilesNotHere, type Session } from "./session.ts";

/** For a running call to end, and for the launcher to remove what is left. */
const WITHIN_MS = 600_000;
/** A session's files are saved for other hosts when nobody has used it for so long, and not more often than that. */
const SAVED_AFTER_MS = 5_000;
export const SAVED_EVERY_MS = 60_000;
/** Nothing is lost by these: it is tried again with the session's next call. */
const NOT_NOW = [FilesNotHere, HostFull, SandboxBroken];
type Arrival =
  | { readonly kind: "restored" | "without_files" }
  | { readonly kind: "not_now"; readonly reason: string };
/** Said of a host while its launcher has not said how many sandboxes fit. */
const UNKNOWN_FREE = 1;

export class TravellingSessions {
  readonly #registry: Registry;
  readonly #admission: Admission;
  readonly #image: () => string | null;
  /** Of everybody; a caller who has another one gets it with the next call. */
  readonly #profile: string;

  constructor(registry: Registry, admission: Admission, image: () => string | null, profile: string) {
    this.#profile = profile;
    this.#registry = registry;
    this.#admission = admission;
    this.#image = image;
  }

  /** Sandboxes that fit beside the calls that run; idle ones give way. */
  get free(): number {
    const { free } = this.#admission;
    return Number.isFinite(free) ? free : UNKNOWN_FREE;
  }

  get live(): number {
    return this.#registry.live;
  }

  get image(): string | null {
    return this.#image();
  }

  /** Of sessions with a kernel, last used first. */
  keys(): SessionKey[] {
    return this.#registry.keys();
  }

  quiet(key: SessionKey): boolean {
    return this.#registry.find(key)?.idle ?? true;
  }

  /** `why`: another host had it; what is left here of an earlier stay goes. Rejects as `Session.forget` does. */
  async arrive(key: SessionKey, why: "host_lost" | "moved", files: Readable | null): Promise<Arrival> {
    const session = this.#registry.session(key);
    try {
      return { kind: await session.arrive(why, files, this.#profile, AbortSignal.timeout(WITHIN_MS)) };
    } catch (error) {
      if (!NOT_NOW.some((kind) => error instanceof kind)) throw error;
      return { kind: "not_now", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  unsaved(): SessionKey[] {
    return this.#registry.unsaved(SAVED_AFTER_MS, SAVED_EVERY_MS);
  }

  /** Rejects as `Session.save` does. */
  save(
    key: SessionKey,
    reading: Omit<WorkspaceReading, "unless">,
    { patient, signal }: { readonly patient: boolean; readonly signal: AbortSignal },
  ): ReturnType<Session["save"]> {
    return this.#registry.session(key).save(reading, { patient, profile: this.#profile, signal });
  }

  /** Rejects as `Session.forget` does. */
  async depart(key: SessionKey): Promise<void> {
    await this.#registry.session(key).depart(AbortSignal.timeout(WITHIN_MS));
  }
}
