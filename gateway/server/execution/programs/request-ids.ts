/**
 * Which program a request belonged to, by the id that the client gave the request: the key for cancelling. Bounded;
 * an id is remembered for a while after its request, so that it can be used once only.
 */
import { MAX_REQUEST_IDS, MAX_REQUEST_IDS_PER_CALLER, REQUEST_ID_MEMORY_MS } from "./limits.ts";

interface Entry {
  readonly caller: string;
  /** The program's id; null: cancelled before its request came. */
  readonly program: string | null;
  readonly forgetAtMs: number;
}

export class RequestIds {
  readonly #entries = new Map<string, Entry>();
  /** Ids of each caller, oldest first. */
  readonly #ofCaller = new Map<string, Set<string>>();

  /** False when the id has been used, or was cancelled, before. */
  claim(id: string, caller: string, program: string): boolean {
    this.#sweep();
    if (this.#entries.has(id)) return false;
    this.#insert(id, { caller, program, forgetAtMs: performance.now() + REQUEST_ID_MEMORY_MS });
    return true;
  }

  /** Remembers a cancellation that overtook its request. */
  cancelAhead(id: string, caller: string): void {
    this.#sweep();
    this.#insert(id, { caller, program: null, forgetAtMs: performance.now() + REQUEST_ID_MEMORY_MS });
  }

  find(id: string): { readonly caller: string; readonly program: string | null } | null {
    this.#sweep();
    return this.#entries.get(id) ?? null;
  }

  forgetCallers(matches: (caller: string) => boolean): void {
    for (const [caller, ids] of [...this.#ofCaller]) {
      if (matches(caller)) for (const id of [...ids]) this.#forget(id);
    }
  }

  /** Who sends too many forgets their own, not somebody else's. */
  #insert(id: string, entry: Entry): void {
    this.#forget(id);
    const own = this.#ofCaller.get(entry.caller) ?? new Set();
    this.#ofCaller.set(entry.caller, own.add(id));
    this.#entries.set(id, entry);
    const [oldestOwn] = own;
    if (own.size > MAX_REQUEST_IDS_PER_CALLER && oldestOwn !== undefined) this.#forget(oldestOwn);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_REQUEST_IDS && oldest !== undefined) this.#forget(oldest);
  }

  #forget(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    const own = this.#ofCaller.get(entry.caller);
    own?.delete(id);
    if (own?.size === 0) this.#ofCaller.delete(entry.caller);
  }

  /** Entries are in the order of their time: the sweep stops at the first that stays. */
  #sweep(): void {
    const now = performance.now();
    for (const [id, entry] of this.#entries) {
      if (entry.forgetAtMs > now) return;
      this.#forget(id);
    }
  }
}
