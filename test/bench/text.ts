/** A row as `npm run bench` prints it. */
import { type MeasuredFigure, type MeasuredRow, meets, withUnit, written } from "./result.ts";

const NAME = 52;

export function goalText({ goal, unit }: MeasuredFigure): string {
  if (goal === null) return "";
  return "atMost" in goal ? `≤ ${withUnit(goal.atMost, unit)}` : `≥ ${withUnit(goal.atLeast, unit)}`;
}

export const metText = (figure: MeasuredFigure): string =>
  ({ true: "met", false: "not met", null: "" })[`${meets(figure)}`];

/** Of several runs the least and the most. */
export function spreadText({ unit, values }: MeasuredFigure): string {
  if (values.length < 2) return "";
  return `${withUnit(Math.min(...values), unit)} … ${withUnit(Math.max(...values), unit)}`;
}

export const ratioText = ({ ratio }: MeasuredFigure): string =>
  ratio === null ? "" : `${ratio.value.toFixed(2)} × ${ratio.of}`;

function line(figure: MeasuredFigure): string {
  const columns = [
    `  ${figure.name}`.padEnd(NAME),
    written(figure).padStart(12),
    ` ${ratioText(figure)}`.padEnd(36),
    goalText(figure).padStart(16),
    metText(figure).padStart(9),
    `   ${spreadText(figure)}`,
  ];
  return columns.join("").trimEnd();
}

/** Lines without an end of the last. */
export function rowText(row: MeasuredRow): string {
  const surroundings = `load ${row.load[0]} → ${row.load[1]}, CPUs ${row.busy} % busy, ${row.stolen} % stolen`;
  return [
    `${row.name}: ${row.title} (${Math.round(row.seconds)} s, ${surroundings})`,
    ...row.figures.map(line),
    ...(row.because === null ? [] : [`  not met because: ${row.because}`]),
  ].join("\n");
}
