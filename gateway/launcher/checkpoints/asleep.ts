/** The sessions asleep on this host, and the disk they take: counted as they come and go, so that asking costs nothing. */
import type { SessionKey } from "../../common/protocol/launcher-api.ts";

export interface SleepingSession {
  readonly volume: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
  /** Null where its checkpoint does not say, or cannot be believed. */
  readonly session: { readonly key: SessionKey; readonly owner: string | null } | null;
}

export class Asleep {
  readonly #byVolume = new Map<string, SleepingSession>();
  #bytes = 0;

  get count(): number {
    return this.#byVolume.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(volume: string): boolean {
    return this.#byVolume.has(volume);
  }

  /** Longest asleep first. */
  list(): SleepingSession[] {
    return [...this.#byVolume.values()].sort((a, b) => a.savedAt - b.savedAt);
  }

  here(session: SleepingSession): void {
    this.gone(session.volume);
    this.#byVolume.set(session.volume, session);
    this.#bytes += session.bytes;
  }

  gone(volume: string): void {
    this.#bytes -= this.#byVolume.get(volume)?.bytes ?? 0;
    this.#byVolume.delete(volume);
  }
}
