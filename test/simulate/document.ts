/** Where the documentation has the tables and the pictures. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Costs } from "./costs.ts";
import { costTable, fitTable, head, pictures } from "./report.ts";
import type { Result } from "./simulate.ts";

const ROOT = join(import.meta.dirname, "../..");
export const DOCUMENT = "docs/scaling.md";
const pathOf = (name: string) => join(ROOT, "docs/scaling", name);

type Table = "what fits" | "costs" | "days";

/** Between two comments, which begin and end with a line. */
function cut(text: string, table: Table): { before: string; lines: string[]; after: string } {
  const [begin, end] = [`<!-- npm run generate: ${table} -->\n`, `<!-- end: ${table} -->\n`];
  const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  if (from < begin.length || to < from) throw new Error(`${DOCUMENT} has no place for: ${table}`);
  const lines = text.slice(from, to).trimEnd().split("\n");
  return { before: text.slice(0, from), lines, after: text.slice(to) };
}

const read = () => readFileSync(join(ROOT, DOCUMENT), "utf8");

export const tableThere = (table: Table): readonly string[] => cut(read(), table).lines;
export const pictureThere = (name: string): string => readFileSync(pathOf(name), "utf8");

export function write(rows: readonly string[], drawn: Result, costs: Costs): void {
  let text = read();
  const tables = { "what fits": fitTable(), costs: costTable(costs), days: [...head, ...rows] } as const;
  for (const table of ["what fits", "costs", "days"] as const) {
    const { before, after } = cut(text, table);
    text = `${before}${tables[table].join("\n")}\n${after}`;
  }
  writeFileSync(join(ROOT, DOCUMENT), text);
  for (const [name, svg] of Object.entries(pictures(drawn))) writeFileSync(pathOf(name), svg);
}
