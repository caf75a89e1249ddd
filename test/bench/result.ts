/** The result of a benchmark as a file: what was measured in each run, on which machine, and whether it meets its goal. */
import { z } from "@hono/zod-openapi";
import { Machine } from "./machine.ts";
import { type Figure, met, type Row, type Unit } from "./row.ts";
import { median } from "./statistics.ts";

const UNITS = ["ms", "s", "×", "%", "MB/s", "MiB", "GB", "sessions"] as const satisfies readonly Unit[];

const Goal = z.union([z.object({ atMost: z.number() }), z.object({ atLeast: z.number() })]);

export const MeasuredFigure = z.object({
  name: z.string(),
  unit: z.enum(UNITS),
  /** One of each run. */
  values: z.array(z.number()).min(1),
  count: z.number(),
  ratio: z.object({ of: z.string(), value: z.number() }).nullable(),
  goal: Goal.nullable(),
});
export type MeasuredFigure = z.infer<typeof MeasuredFigure>;

export const MeasuredRow = z.object({
  name: z.string(),
  title: z.string(),
  at: z.string(),
  seconds: z.number(),
  /** Of the last minute, before and after. */
  load: z.tuple([z.number(), z.number()]),
  /** Percent of all CPUs' time meanwhile; `stolen` went to other machines of the same host. */
  busy: z.number(),
  stolen: z.number(),
  figures: z.array(MeasuredFigure),
  /** Where a goal is missed: what bounds it. */
  because: z.string().nullable(),
});
export type MeasuredRow = z.infer<typeof MeasuredRow>;

export const Result = z.object({ machine: Machine, rows: z.array(MeasuredRow) });
export type Result = z.infer<typeof Result>;

/** Null: it was not measured. */
export const figureOf = (
  { rows }: Pick<Result, "rows">,
  row: string,
  name: string | null,
): MeasuredFigure | null =>
  rows.find((one) => one.name === row)?.figures.find((one) => one.name === name) ?? null;

/** The one that is printed and judged: of several runs the middle one. */
export const middleOf = ({ values }: MeasuredFigure): number => median(values);

/** Null: it has no goal. */
export const meets = (figure: MeasuredFigure): boolean | null =>
  figure.goal === null ? null : met(middleOf(figure), figure.goal);

/** Figures of several runs become one with a value of each. Throws when the runs have different ones. */
export function combine(runs: readonly (readonly Figure[])[]): MeasuredFigure[] {
  const [first = []] = runs;
  return first.map(({ name, unit, goal, ratio }) => {
    const same = runs.map((run) => {
      const found = run.find((figure) => figure.name === name);
      if (found === undefined) throw new Error(`a run has no figure ${name}`);
      return found;
    });
    const ratios = same.flatMap((figure) => (figure.ratio === null ? [] : [figure.ratio.value]));
    return {
      name,
      unit,
      values: same.map(({ value }) => value),
      count: same.reduce((sum, { count }) => sum + count, 0),
      ratio: ratio === null ? null : { of: ratio.of, value: median(ratios) },
      goal,
    };
  });
}

export function written(figure: MeasuredFigure): string {
  return withUnit(middleOf(figure), figure.unit);
}

export function withUnit(value: number, unit: Unit): string {
  const digits = unit === "sessions" ? 0 : Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

/** What bounds a row that misses a goal. A figure that it does not have is a dash. */
export function reasonOf(row: Pick<Row, "because">, figures: readonly MeasuredFigure[]): string | null {
  if (figures.every((figure) => meets(figure) !== false)) return null;
  const reason = row.because((name) => {
    const found = figures.find((figure) => figure.name === name);
    return found === undefined ? "–" : written(found);
  });
  return reason === "" ? null : reason;
}

const sameMachine = (one: Result["machine"], other: Result["machine"]) =>
  one.cpu === other.cpu && one.cpus === other.cpus && one.memory_gib === other.memory_gib;

/** Rows of `later` take the place of those before, of which nothing stays from another machine; the order is that of `names`. */
export function merge(earlier: Result | null, later: Result, names: readonly string[]): Result {
  const kept = earlier !== null && sameMachine(earlier.machine, later.machine) ? earlier.rows : [];
  const rows = new Map([...kept, ...later.rows].map((row) => [row.name, row]));
  const ordered = names.flatMap((name) => rows.get(name) ?? []);
  return { machine: later.machine, rows: ordered };
}
