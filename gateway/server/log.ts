/** The gateway's log on its stdout. Every call has a line: those of a moment are written together. All else is written at once. */
import { type DestinationStream, type Logger, pino, symbols } from "pino";

/** What a killed process loses. */
const WRITTEN_AFTER_MS = 100;
const WRITTEN_AT_LENGTH = 4 * 1024;
/** What is said of a call. */
export const CALL = "request";
/** At the end; nobody may read them any more. */
const LAST_WRITTEN_WITHIN_MS = 1_000;

type Lines = ReturnType<typeof pino.destination>;

class Together implements DestinationStream {
  /** Pino says then of each line what it is. */
  readonly [symbols.needsMetadataGsym] = true;
  lastMsg: unknown = null;
  readonly #lines: Lines;
  #waiting = "";
  #timer: NodeJS.Timeout | null = null;
  #ended = false;

  constructor(lines: Lines) {
    this.#lines = lines;
  }

  write(line: string): void {
    if (this.#ended) return;
    this.#waiting += line;
    if (this.lastMsg !== CALL || this.#waiting.length >= WRITTEN_AT_LENGTH) this.#hand();
    else this.#timer ??= setTimeout(() => this.#hand(), WRITTEN_AFTER_MS).unref();
  }

  /** Before the process ends in whatever way it does. Never throws: who read them may be gone. */
  flushSync(): void {
    if (this.#ended) return;
    try {
      this.#hand();
      this.#lines.flushSync();
    } catch {}
  }

  /** Takes no more; `done` when the last ones are out. */
  end(done: () => void): void {
    this.#hand();
    this.#ended = true;
    this.#lines.once("close", done);
    this.#lines.end();
  }

  #hand(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting === "") return;
    this.#lines.write(this.#waiting);
    this.#waiting = "";
  }
}

export interface OpenLog {
  readonly log: Logger;
  /** Ends the process when its last lines are out. */
  readonly exit: (code: number) => void;
}

export function openLog(level: string): OpenLog {
  const together = new Together(pino.destination({ dest: 1, sync: false }));
  process.once("exit", () => together.flushSync());
  return {
    log: pino({ level, base: { service: "gateway" } }, together),
    exit(code) {
      const exit = () => process.exit(code);
      setTimeout(exit, LAST_WRITTEN_WITHIN_MS);
      together.end(exit);
    },
  };
}
