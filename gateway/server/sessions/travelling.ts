/** Sessions that come from other hosts and go to them: what their fleet asks of this one's. */
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { Admission } from "./admission.ts";
import type { Registry } from "./registry.ts";

/** For a running call to end, and for the launcher to remove what is left. */
const WITHIN_MS = 600_000;
/** Said of a host while its launcher has not said how many sandboxes fit. */
const UNKNOWN_FREE = 1;

export class TravellingSessions {
  readonly #registry: Registry;
  readonly #admission: Admission;
  readonly #image: () => string | null;

  constructor(registry: Registry, admission: Admission, image: () => string | null) {
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

  keys(): SessionKey[] {
    return this.#registry.keys();
  }

  /** `why` null: it is new as far as anybody knows, and what is left here of it is its own. Rejects as `Session.forget` does. */
  async arrive(key: SessionKey, why: "host_lost" | "moved" | null): Promise<void> {
    if (why !== null) await this.#registry.session(key).arrive(why, AbortSignal.timeout(WITHIN_MS));
  }

  /** Rejects as `Session.forget` does. */
  async depart(key: SessionKey): Promise<void> {
    await this.#registry.session(key).depart(AbortSignal.timeout(WITHIN_MS));
  }
}
