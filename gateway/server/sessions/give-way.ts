/** When a session's running call is interrupted for those that wait: it has run its time, and one of them is in a hurry. */
export class GiveWay {
  readonly #afterMs: number | null;
  /** False: there was nothing to interrupt. */
  readonly #interrupt: () => boolean;
  #waiting = 0;
  /** `performance.now()`; null: no call runs. */
  #runningSince: number | null = null;
  #timer: NodeJS.Timeout | undefined;
  #gaveWay = false;

  /** `afterMs`: how long a call may run undisturbed; null: as long as it takes. */
  constructor(afterMs: number | null, interrupt: () => boolean) {
    this.#afterMs = afterMs;
    this.#interrupt = interrupt;
  }

  /** The present call was interrupted for another one. */
  get gaveWay(): boolean {
    return this.#gaveWay;
  }

  /** Somebody waits from now on, until the returned function is called. */
  wait(): () => void {
    this.#waiting += 1;
    this.#arm();
    return () => {
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#disarm();
    };
  }

  /** A call begins. */
  begin(): void {
    this.#gaveWay = false;
    this.#runningSince = performance.now();
    this.#arm();
  }

  /** The call is over. */
  end(): void {
    this.#runningSince = null;
    this.#disarm();
  }

  #arm(): void {
    if (this.#afterMs === null || this.#runningSince === null || this.#waiting === 0) return;
    if (this.#timer !== undefined || this.#gaveWay) return;
    const left = Math.max(0, this.#runningSince + this.#afterMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#gaveWay = this.#interrupt();
    }, left);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
