/** The last hours, for the console's charts: the service's own figures, looked at every half minute, in a ring of fixed size. */
import type { Reading } from "../metrics/metrics.ts";

export const EVERY_MS = 30_000;
const HOURS = 6;
const MOST_POINTS = (HOURS * 3_600_000) / EVERY_MS;

/** Null: nobody could say, or nothing happened. */
export interface Point {
  /** Unix time, in seconds. */
  readonly time: number;
  readonly requestsPerMinute: number;
  readonly errorsPerMinute: number;
  /** Seconds within which half of the requests since the last point were answered, and 19 of 20; a bucket's upper bound. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly awake: number | null;
  readonly asleep: number | null;
}

interface Counts {
  readonly requests: number;
  readonly errors: number;
  /** How many requests took at most so many seconds. */
  readonly within: ReadonlyMap<number, number>;
}

const ofCallers = (labels: { readonly path?: unknown }) => labels.path !== "/health";

export function counts(figures: Reading): Counts {
  const within = new Map<number, number>();
  for (const { labels, value } of figures.series("http_request_duration_seconds_bucket")) {
    const seconds = labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels.le);
    if (ofCallers(labels)) within.set(seconds, (within.get(seconds) ?? 0) + value);
  }
  return {
    requests: figures.sum("http_requests_total", ofCallers),
    errors: figures.sum(
      "http_requests_total",
      (labels) => ofCallers(labels) && String(labels.status).startsWith("5"),
    ),
    within,
  };
}

/** Of what happened between two looks. Past the last bound nobody knows how much longer. */
function quantile(before: Counts, now: Counts, part: number): number | null {
  const wanted = (now.requests - before.requests) * part;
  if (wanted <= 0) return null;
  const bounds = [...now.within.keys()].filter(Number.isFinite).sort((one, other) => one - other);
  return (
    bounds.find((bound) => (now.within.get(bound) ?? 0) - (before.within.get(bound) ?? 0) >= wanted) ??
    bounds.at(-1) ??
    null
  );
}

export class History {
  readonly #read: () => Promise<Reading>;
  readonly #points: Point[] = [];
  #last: { readonly counts: Counts; readonly at: number } | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(read: () => Promise<Reading>) {
    this.#read = read;
  }

  get points(): readonly Point[] {
    return this.#points;
  }

  start(): void {
    const look = () => void this.#look().catch(() => {});
    look();
    this.#timer = setInterval(look, EVERY_MS).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    this.add(await this.#read(), Date.now());
  }

  /** `at`: in milliseconds. */
  add(figures: Reading, at: number): void {
    const now = counts(figures);
    const before = this.#last;
    this.#last = { counts: now, at };
    if (before === null || at <= before.at) return;
    const minutes = (at - before.at) / 60_000;
    this.#points.push({
      time: Math.round(at / 1000),
      requestsPerMinute: (now.requests - before.counts.requests) / minutes,
      errorsPerMinute: (now.errors - before.counts.errors) / minutes,
      p50: quantile(before.counts, now, 0.5),
      p95: quantile(before.counts, now, 0.95),
      awake: figures.value("kernelyard_sessions_live"),
      asleep: figures.value("kernelyard_sessions_sleeping"),
    });
    if (this.#points.length > MOST_POINTS) this.#points.shift();
  }
}
