/**
 * `npm run bench`: how fast it is, side by side with the alternatives in one run on this machine, against its goals. Every result is
 * checked, so that a call which fails fast is not a fast call. `npm run bench -- warm wake --runs 3`: those rows, three times.
 * The result goes to `test/results/bench.json`, row by row, and is drawn in `test/results/bench.svg`; with `--reference` it is what the
 * documentation shows. `--quick`: a fifth of the calls.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PERFORMANCE_COPIES, REFERENCE } from "./document.ts";
import { drawing } from "./drawing.ts";
import { Lab } from "./lab.ts";
import { load, machineFacts, watchCpus } from "./machine.ts";
import { readBenchRequest } from "./request.ts";
import { combine, type MeasuredRow, meets, merge, Result, reasonOf } from "./result.ts";
import type { Figure, Row } from "./row.ts";
import { FURTHER_ROWS, ROWS } from "./rows/all.ts";
import { rowText } from "./text.ts";

const ROOT = join(import.meta.dirname, "../..");
const RESULTS = join(import.meta.dirname, "../results");
const FILE = join(RESULTS, "bench.json");
const QUICK = 0.2;
const ALL = [...ROWS, ...FURTHER_ROWS];
const names = (rows: readonly Row[]) => rows.map(({ name }) => name);

async function measured(row: Row, runs: number, lab: Lab): Promise<MeasuredRow> {
  const [before, cpus, began] = [load(), watchCpus(), performance.now()];
  const all: (readonly Figure[])[] = [];
  for (let run = 0; run < runs; run += 1) all.push(await row.measure(lab));
  const figures = combine(all);
  return {
    name: row.name,
    title: row.title,
    at: new Date().toISOString(),
    seconds: (performance.now() - began) / 1000,
    load: [before, load()],
    ...cpus(),
    figures,
    because: reasonOf(row, figures),
  };
}

/** After each row: what was measured stays when a later one fails. */
async function keep(row: MeasuredRow): Promise<void> {
  mkdirSync(RESULTS, { recursive: true });
  const earlier = existsSync(FILE) ? Result.safeParse(JSON.parse(readFileSync(FILE, "utf8"))).data : null;
  const commit = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  const now = { machine: await machineFacts(commit), rows: [row] };
  const result = merge(earlier ?? null, now, names(ALL));
  writeFileSync(FILE, `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(join(RESULTS, "bench.svg"), drawing(result));
}

const say = (text: string) => void process.stdout.write(`${text}\n`);

/** The names of rows that failed: a call had another result than it must have. */
async function bench(words: readonly string[]): Promise<string[]> {
  const { names: wanted, quick, reference, runs } = readBenchRequest(words, names(ROWS), names(FURTHER_ROWS));
  // Rows by their names join those that are there; a whole run stands alone.
  if (wanted.length === ROWS.length) rmSync(FILE, { force: true });
  await using lab = new Lab(quick ? QUICK : 1);
  // Nothing stays behind: what its containers and services belong to is this process.
  const leave = () => void lab[Symbol.asyncDispose]().finally(() => process.exit(1));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, leave);
  const failed: string[] = [];
  const figures = [];
  for (const row of ALL.filter(({ name }) => wanted.includes(name))) {
    try {
      const one = await measured(row, runs, lab);
      say(`${rowText(one)}\n`);
      await keep(one);
      figures.push(...one.figures);
    } catch (error) {
      failed.push(row.name);
      say(`${row.name}: ${row.title}\n  failed: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  const goals = figures.map(meets).filter((outcome) => outcome !== null);
  say(`${goals.filter((outcome) => outcome).length} of ${goals.length} goals met; ${FILE}`);
  if (reference && failed.length === 0) {
    const file = join(ROOT, REFERENCE);
    const { machine, rows } = Result.parse(JSON.parse(readFileSync(FILE, "utf8")));
    // Not what an earlier run has left there, a quick one among them.
    const now = { machine, rows: rows.filter(({ name }) => wanted.includes(name)) };
    const known = wanted.length === ROWS.length ? null : Result.parse(JSON.parse(readFileSync(file, "utf8")));
    writeFileSync(file, `${JSON.stringify(merge(known, now, names(ALL)), null, 2)}\n`);
    for (const { path, make } of PERFORMANCE_COPIES) writeFileSync(join(ROOT, path), make());
    say(
      `It is ${REFERENCE} now, and what is made of it: ${PERFORMANCE_COPIES.map(({ path }) => path).join(", ")}.`,
    );
  }
  return failed;
}

const failed = await bench(process.argv.slice(2)).catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  return ["bench"];
});
if (failed.length > 0) process.exitCode = 1;
