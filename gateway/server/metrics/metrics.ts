/** The table's metrics as they are now. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type LabelsOf, METRICS, type MetricName, type MetricSpec, type NameOf } from "./table.ts";

interface ReadSeries {
  /** With `_bucket`, `_sum`, `_count` for a histogram. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string | number | undefined>>;
  readonly value: number;
}

/** What the table's metrics were at one moment, for whoever looks at them here. */
export class Reading {
  readonly #series: readonly ReadSeries[];

  constructor(series: readonly ReadSeries[]) {
    this.#series = series;
  }

  /** Null: nobody says. */
  value(name: MetricName): number | null {
    return this.#series.find((one) => one.name === name)?.value ?? null;
  }

  /** Of all series of a counter that `fits`. */
  sum(name: MetricName, fits: (labels: ReadSeries["labels"]) => boolean = () => true): number {
    return this.series(name).reduce((sum, { labels, value }) => (fits(labels) ? sum + value : sum), 0);
  }

  /** `name`: also one of a histogram's three. */
  series(name: MetricName | `${NameOf<"histogram">}_${"bucket" | "sum" | "count"}`): readonly ReadSeries[] {
    return this.#series.filter((one) => one.name === name);
  }
}

type Row<Name extends MetricName> = readonly [labels: LabelsOf<Name>, value: number];

/** A call waits for no bookkeeping: what it counts is entered a moment later, together with what others counted. */
const ENTERED_AFTER_MS = 50;
const MOST_WAITING = 4096;

export class Metrics {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #histograms = new Map<string, Histogram>();
  #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor() {
    const registers = [this.#registry];
    for (const [name, spec] of Object.entries<MetricSpec>(METRICS)) {
      const { help, kind, labels } = spec;
      const options = { name, help, labelNames: Object.keys(labels), registers };
      if (kind === "gauge") this.#gauges.set(name, new Gauge(options));
      else if (kind === "counter") this.#counters.set(name, zeroed(new Counter(options), spec));
      else this.#histograms.set(name, new Histogram({ ...options, buckets: [...(spec.buckets ?? [])] }));
    }
  }

  add<Name extends NameOf<"counter">>(name: Name, labels: LabelsOf<Name>): void {
    const counter = known(this.#counters, name);
    this.#later(() => counter.inc(text(labels)));
  }

  observe<Name extends NameOf<"histogram">>(name: Name, labels: LabelsOf<Name>, value: number): void {
    const histogram = known(this.#histograms, name);
    this.#later(() => histogram.observe(text(labels), value));
  }

  /** Null: unknown, and not said. */
  set(name: Exclude<NameOf<"gauge">, "kernelyard_info">, value: number | null): void;
  set<Name extends NameOf<"gauge">>(name: Name, rows: readonly Row<Name>[]): void;
  set<Name extends NameOf<"gauge">>(name: Name, value: number | null | readonly Row<Name>[]): void {
    const gauge = known(this.#gauges, name);
    // What an earlier scrape said and nobody says any more goes, too.
    gauge.reset();
    if (value === null) gauge.remove({});
    else if (typeof value === "number") gauge.set(value);
    else for (const [labels, one] of value) gauge.set(text(labels), one);
  }

  /** For a counter that somebody else keeps. */
  counted<Name extends NameOf<"counter">>(name: Name, rows: readonly Row<Name>[]): void {
    const counter = known(this.#counters, name);
    counter.reset();
    zeroed(counter, METRICS[name]);
    for (const [labels, value] of rows) counter.inc(text(labels), value);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    this.#enter();
    return this.#registry.metrics();
  }

  /** Every series with its value now. */
  async read(): Promise<Reading> {
    this.#enter();
    const metrics = await this.#registry.getMetricsAsJSON();
    return new Reading(
      metrics.flatMap(({ name, values }) =>
        values.map((one) => ({
          name: "metricName" in one && typeof one.metricName === "string" ? one.metricName : name,
          labels: one.labels,
          value: one.value,
        })),
      ),
    );
  }

  #later(entry: () => void): void {
    this.#waiting.push(entry);
    if (this.#waiting.length >= MOST_WAITING) this.#enter();
    else this.#timer ??= setTimeout(() => this.#enter(), ENTERED_AFTER_MS).unref();
  }

  #enter(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const entries = this.#waiting;
    this.#waiting = [];
    for (const enter of entries) enter();
  }
}

/** The table makes one for every name. */
function known<T>(metrics: ReadonlyMap<string, T>, name: string): T {
  const metric = metrics.get(name);
  if (metric === undefined) throw new Error(`the table has no such metric: ${name}`);
  return metric;
}

/** The types have checked names and values; the library wants them without. */
const text = (labels: Readonly<Record<string, string>>): Record<string, string> => labels;

/** A counter that begins at its first event hides it from `increase`: where all labels' values are known, all begin at 0. */
function zeroed(counter: Counter, { labels }: MetricSpec): Counter {
  let rows: Record<string, string>[] = [{}];
  for (const [label, values] of Object.entries(labels)) {
    if (typeof values === "string") return counter;
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [label]: value })));
  }
  for (const row of rows) counter.inc(row, 0);
  return counter;
}
