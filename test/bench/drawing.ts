/** A result as an SVG: how long an answer takes, each a dot on a logarithmic axis. Light and dark as its reader has it. */
import { figureOf, type MeasuredFigure, middleOf, type Result, withUnit } from "./result.ts";

interface Shown {
  readonly row: string;
  readonly figure: string;
  readonly label: string;
  readonly ours: boolean;
}

const SHOWN: readonly Shown[] = [
  {
    row: "warm",
    figure: "raw stream and IPython, p50",
    label: "IPython on the engine's raw stream",
    ours: false,
  },
  { row: "warm", figure: "p50", label: "call of a session that is awake", ours: true },
  {
    row: "warm",
    figure: "Jupyter Kernel Gateway and ipykernel, p50",
    label: "Jupyter Kernel Gateway, ipykernel",
    ours: false,
  },
  { row: "warm", figure: "docker exec, p50", label: "docker exec for each call", ours: false },
  { row: "fresh", figure: "p50", label: "fresh call, pandas and pyplot imported", ours: true },
  { row: "burst", figure: "p50", label: "ten fresh calls in a row, each", ours: true },
  {
    row: "restart",
    figure: "until the first answer, p50",
    label: "kernel restart to first answer",
    ours: true,
  },
  { row: "wake", figure: "p50", label: "call of a session that sleeps", ours: true },
  { row: "empty", figure: "a session's first, p50", label: "first call of a session", ours: true },
  { row: "empty", figure: "fresh call, p50", label: "fresh call, pool empty", ours: true },
  {
    row: "empty",
    figure: "cold start (checkpoints off), p50",
    label: "cold start of a sandbox",
    ours: false,
  },
  {
    row: "fresh",
    figure: "docker run with the same imports, p50",
    label: "docker run with the imports",
    ours: false,
  },
];

const WIDTH = 760;
const LABELS = 290;
const VALUES = 90;
const TOP = 64;
const LINE = 26;
const FROM_MS = 0.1;
const TO_MS = 10_000;
const DECADES = Math.log10(TO_MS / FROM_MS);

const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #59636e; }
.grid { stroke: #d1d9e0; }
.stem { stroke: #d1d9e0; stroke-width: 2; }
.ours { fill: #0969da; }
.other { fill: #818b98; }
.goal { stroke: #1a7f37; stroke-width: 2; }
.sheet { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.small { fill: #9198a1; }
.grid { stroke: #3d444d; }
.stem { stroke: #3d444d; }
.ours { fill: #4493f8; }
.other { fill: #9198a1; }
.goal { stroke: #3fb950; }
.sheet { fill: #0d1117; }
}`;

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** What lies outside the axis is at its end. */
function xOf(ms: number): number {
  const share = Math.log10(Math.min(TO_MS, Math.max(FROM_MS, ms)) / FROM_MS) / DECADES;
  return Math.round((LABELS + share * (WIDTH - LABELS - VALUES)) * 10) / 10;
}

const inMs = (value: number, unit: MeasuredFigure["unit"]) => (unit === "s" ? value * 1000 : value);
const duration = (ms: number) => (ms < 1000 ? withUnit(ms, "ms") : withUnit(ms / 1000, "s"));

function dot({ label, ours }: Shown, figure: MeasuredFigure, y: number): string {
  const ms = inMs(middleOf(figure), figure.unit);
  const goal = figure.goal !== null && "atMost" in figure.goal ? inMs(figure.goal.atMost, figure.unit) : null;
  return [
    `<text x="${LABELS - 14}" y="${y + 4.5}" text-anchor="end">${escaped(label)}</text>`,
    `<line class="stem" x1="${LABELS}" y1="${y}" x2="${xOf(ms)}" y2="${y}"/>`,
    ...(goal === null
      ? []
      : [`<line class="goal" x1="${xOf(goal)}" y1="${y - 9}" x2="${xOf(goal)}" y2="${y + 9}"/>`]),
    `<circle class="${ours ? "ours" : "other"}" cx="${xOf(ms)}" cy="${y}" r="6"/>`,
    `<text x="${WIDTH - 12}" y="${y + 4.5}" text-anchor="end">${escaped(duration(ms))}</text>`,
  ].join("\n");
}

function axis(height: number): string {
  const decades = Array.from({ length: DECADES + 1 }, (_, n) => FROM_MS * 10 ** n);
  return decades
    .map((ms) => {
      const name = ms < 1000 ? `${Number(ms.toFixed(1))} ms` : `${ms / 1000} s`;
      return `<line class="grid" x1="${xOf(ms)}" y1="${TOP - 12}" x2="${xOf(ms)}" y2="${height - 40}"/>
<text class="small" x="${xOf(ms)}" y="${height - 24}" text-anchor="middle">${name}</text>`;
    })
    .join("\n");
}

/** Rows that were not measured are left out. */
export function drawing(result: Result): string {
  const shown = SHOWN.flatMap((one) => {
    const figure = figureOf(result, one.row, one.figure);
    return figure === null ? [] : [{ one, figure }];
  });
  const height = TOP + shown.length * LINE + 44;
  const legend = [
    `<circle class="ours" cx="300" cy="42" r="5"/><text class="small" x="310" y="46">Kernelyard</text>`,
    `<circle class="other" cx="392" cy="42" r="5"/><text class="small" x="402" y="46">for comparison</text>`,
    `<line class="goal" x1="506" y1="34" x2="506" y2="50"/><text class="small" x="514" y="46">goal</text>`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="How long until the answer">
<style>${STYLE}
</style>
<rect class="sheet" width="${WIDTH}" height="${height}" rx="6"/>
<text class="title" x="${LABELS}" y="24">How long until the answer, in a gVisor sandbox (p50)</text>
${legend.join("\n")}
${axis(height)}
${shown.map(({ one, figure }, n) => dot(one, figure, TOP + n * LINE + LINE / 2)).join("\n")}
</svg>
`;
}
