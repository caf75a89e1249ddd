/** The gateway's log on its stdout. Every call has a line: those of a moment are written together, and no call waits for it. */
import { type DestinationStream, type Logger, pino } from "pino";

/** What a killed process loses. */
const WRITTEN_AFTER_MS = 100;
const WRITTEN_AT_BYTES = 4 * 1024;
/** At the end; nobody may read them any more. */
const LAST_WRITTEN_WITHIN_MS = 1_000;

export interface OpenLog {
  readonly log: Logger;
  /** Ends the process when its last lines are out. */
  readonly exit: (code: number) => void;
}

export function openLog(level: string): OpenLog {
  const lines = pino.destination({ dest: 1, sync: false, minLength: WRITTEN_AT_BYTES });
  let soon: NodeJS.Timeout | null = null;
  const destination: DestinationStream & { flushSync(): void } = {
    write(line) {
      lines.write(line);
      if (soon !== null) return;
      soon = setTimeout(() => {
        soon = null;
        lines.flush();
      }, WRITTEN_AFTER_MS).unref();
    },
    flushSync: () => lines.flushSync(),
  };
  return {
    log: pino({ level, base: { service: "gateway" } }, destination),
    exit(code) {
      const exit = () => process.exit(code);
      lines.once("close", exit);
      setTimeout(exit, LAST_WRITTEN_WITHIN_MS);
      lines.end();
    },
  };
}
