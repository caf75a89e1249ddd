/** A result as a run makes it, with numbers that are easy to follow. */
import type { MeasuredFigure, MeasuredRow, Result } from "../../bench/result.ts";

export const measuredFigure = (
  name: string,
  values: number[],
  more: Partial<MeasuredFigure> = {},
): MeasuredFigure => ({ name, unit: "ms", values, count: 100, ratio: null, goal: null, ...more });

export const measuredRow = (name: string, figures: MeasuredFigure[]): MeasuredRow => ({
  name,
  title: `the row ${name}`,
  at: "2026-11-26T12:00:00.000Z",
  seconds: 12.3,
  load: [1.5, 2.5],
  busy: 40,
  stolen: 0,
  figures,
  because: null,
});

export const measuredResult = (rows: MeasuredRow[]): Result => ({
  machine: {
    cpu: "A Processor",
    cpus: 2,
    memory_gib: 24,
    kernel: "6.18.0",
    node: "v24.0.0",
    engine: "20.10.24",
    commit: "abc1234",
  },
  rows,
});
