/** One moment that may be moved and dropped; at most one timer. */
export class Deadline {
  readonly #onPassed: () => void;
  #timer: NodeJS.Timeout | undefined;
  #at = 0;

  constructor(onPassed: () => void) {
    this.#onPassed = onPassed;
  }

  /** Time left as it was last set. */
  get leftMs(): number {
    return Math.max(0, this.#at - performance.now());
  }

  set(ms: number): void {
    clearTimeout(this.#timer);
    this.#at = performance.now() + ms;
    this.#timer = setTimeout(this.#onPassed, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
