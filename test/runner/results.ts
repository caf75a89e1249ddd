/** What a run came to: written by Vitest's reporter, read and shown by `test/run.ts`. */
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { RING_NAMES } from "./rings.ts";

export const RESULTS_FOLDER = join(import.meta.dirname, "../results");
export const RESULTS_FILE = join(RESULTS_FOLDER, "tests.json");
const SLOWEST = 10;

const FileResult = z.object({
  ring: z.string(),
  file: z.string(),
  /** Loading, hooks and tests. */
  seconds: z.number(),
  passed: z.number(),
  failed: z.number(),
  skipped: z.number(),
  /** It could not be loaded, or a hook failed. */
  broken: z.boolean(),
});
export type FileResult = z.infer<typeof FileResult>;

export const Results = z.object({
  files: z.array(FileResult),
  /** Errors that belong to no test. */
  unhandled: z.number(),
});
export type Results = z.infer<typeof Results>;

export interface Count {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function count({ files, unhandled }: Results): Count {
  const sum = (pick: (file: FileResult) => number) => files.reduce((total, file) => total + pick(file), 0);
  return {
    passed: sum((file) => file.passed),
    // A file that could not load has no failed test of its own.
    failed: sum((file) => (file.broken && file.failed === 0 ? 1 : file.failed)) + unhandled,
    skipped: sum((file) => file.skipped),
  };
}

/** Seconds of each ring and the slowest files, as lines; none where there is nothing to compare. */
export function timeTable({ files }: Results, wallSeconds: number): string[] {
  if (files.length < 2) return [];
  const rings = RING_NAMES.map((ring) => ({ ring, of: files.filter((file) => file.ring === ring) })).filter(
    ({ of }) => of.length > 0,
  );
  const row = (...[ring, many, tests, seconds]: readonly (string | number)[]) =>
    `${String(ring).padEnd(12)}${String(many).padStart(6)}${String(tests).padStart(7)}${String(seconds).padStart(9)}`;
  const work = (of: readonly FileResult[]) => of.reduce((total, file) => total + file.seconds, 0);
  const slowest = [...files].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
  return [
    row("ring", "files", "tests", "seconds"),
    ...rings.map(({ ring, of }) =>
      row(
        ring,
        of.length,
        of.reduce((total, file) => total + file.passed + file.failed, 0),
        Math.round(work(of)),
      ),
    ),
    `${Math.round(work(files))} s of work in ${Math.round(wallSeconds)} s. The slowest files:`,
    ...slowest.map(({ file, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${file}`),
  ];
}
