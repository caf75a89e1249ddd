/** What a row of the benchmark is: a few figures that were measured together, some of them with a goal. */
import type { Lab } from "./lab.ts";
import { type Samples, summarise } from "./statistics.ts";

export type Unit = "ms" | "s" | "×" | "%" | "MB/s" | "MiB" | "GB" | "sessions";

export type Goal = { readonly atMost: number } | { readonly atLeast: number };

export interface Figure {
  /** Unique in its row, and the same in every run. */
  readonly name: string;
  readonly value: number;
  readonly unit: Unit;
  /** Results that it comes from. */
  readonly count: number;
  /** How often `of` goes into it, or the other way round: as it says. */
  readonly ratio: { readonly of: string; readonly value: number } | null;
  readonly goal: Goal | null;
}

export interface Row {
  /** `npm run bench -- NAME`. */
  readonly name: string;
  readonly title: string;
  /** Rejects when a call had another result than the one that it must have. */
  readonly measure: (lab: Lab) => Promise<readonly Figure[]>;
  /** What bounds it, by figures of the same run; printed when a goal is missed. `of` writes one with its unit. */
  readonly because: (of: (name: string) => string) => string;
}

export const met = (value: number, goal: Goal): boolean =>
  "atMost" in goal ? value <= goal.atMost : value >= goal.atLeast;

interface Options {
  readonly goal?: Goal;
  readonly ratio?: Figure["ratio"];
  readonly count?: number;
}

export function figure(name: string, value: number, unit: Unit, options: Options = {}): Figure {
  if (!Number.isFinite(value)) throw new Error(`${name}: nothing was measured`);
  return {
    name,
    value,
    unit,
    count: options.count ?? 1,
    ratio: options.ratio ?? null,
    goal: options.goal ?? null,
  };
}

/** Of durations in ms. */
export const p50 = (name: string, samples: Samples, options: Options = {}): Figure =>
  figure(name, summarise(samples).p50, "ms", { count: samples.length, ...options });

export const p99 = (name: string, samples: Samples, options: Options = {}): Figure =>
  figure(name, summarise(samples).p99, "ms", { count: samples.length, ...options });

export const longest = (name: string, samples: Samples, options: Options = {}): Figure =>
  figure(name, Math.max(...samples), "ms", { count: samples.length, ...options });

/** How many times `of` the value is. */
export const times = (value: number, of: string, reference: number): Figure["ratio"] => ({
  of,
  value: value / reference,
});
