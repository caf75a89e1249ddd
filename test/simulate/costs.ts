/**
 * What each step costs, in one table, each with where it is from, and with the row of `npm run bench` that measures it where there is one.
 * `costs.json` is the table of the documentation; a file of the same form, or a bench's own result, take its place.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { Result as BenchResult, figureOf, middleOf } from "../bench/result.ts";

const Cost = z.strictObject({
  p50: z.number().positive(),
  p99: z.number().positive(),
  /** Where it is from. */
  from: z.string(),
  /** The row of `npm run bench` that measures it, and its figures; without a `p99` that keeps its ratio. Null: none does. */
  bench: z.strictObject({ row: z.string(), p50: z.string(), p99: z.string().nullable() }).nullable(),
});

export const Costs = z.strictObject({
  /** Milliseconds that a call of an awake session waits for its code to begin, and for its reply. */
  warm: Cost,
  /** On the way to another host. */
  hop: Cost,
  /** A fresh call that finds a spare sandbox. */
  spare: Cost,
  /** A new sandbox, to its first answer. */
  create: Cost,
  wake: Cost,
  /** Until a session that falls asleep has left its place. */
  save: Cost,
  /** Until files of a session from another host are there. */
  restore: Cost,
  /** MiB on the disk for a session that sleeps. */
  image: Cost,
});
export type Costs = z.output<typeof Costs>;

/** For people. */
export const stepsOf = (
  costs: Costs,
): readonly (readonly [string, z.output<typeof Cost>, "ms" | "MiB"])[] => [
  ["call of a session that is awake", costs.warm, "ms"],
  ["hop to another host", costs.hop, "ms"],
  ["call without a session, by a spare sandbox", costs.spare, "ms"],
  ["new sandbox", costs.create, "ms"],
  ["wake", costs.wake, "ms"],
  ["falling asleep", costs.save, "ms"],
  ["files from another host", costs.restore, "ms"],
  ["session asleep, on the disk", costs.image, "MiB"],
];

export const DEFAULT_COSTS = join(import.meta.dirname, "costs.json");

export const readCosts = (file = DEFAULT_COSTS): Costs => Costs.parse(JSON.parse(readFileSync(file, "utf8")));

/** With the rows of a bench that was run here (`test/results/bench.json`). */
export function withBench(costs: Costs, file: string): Costs {
  const result = BenchResult.parse(JSON.parse(readFileSync(file, "utf8")));
  const measured = (row: string, name: string | null) => {
    const figure = figureOf(result, row, name);
    return figure === null ? null : middleOf(figure);
  };
  const entries = Object.entries(costs).map(([name, cost]) => {
    const p50 = cost.bench === null ? null : measured(cost.bench.row, cost.bench.p50);
    if (cost.bench === null || p50 === null) return [name, cost];
    const p99 = measured(cost.bench.row, cost.bench.p99) ?? (cost.p99 * p50) / cost.p50;
    return [name, { ...cost, p50, p99: Math.max(p50, p99), from: `measured: ${file}` }];
  });
  return Costs.parse(Object.fromEntries(entries));
}
