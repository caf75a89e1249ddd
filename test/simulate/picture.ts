/** Lines over the hours of a day, as SVG that is readable on light and dark pages. Pure. */

export interface Line {
  readonly name: string;
  /** Hour, value. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Picture {
  readonly title: string;
  readonly unit: string;
  /** At most three. */
  readonly lines: readonly Line[];
}

const [WIDTH, HEIGHT] = [760, 300];
const [LEFT, RIGHT, TOP, BOTTOM] = [62, 28, 62, 34];
/** At most. */
const STEPS = 4;
const STYLE = `text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:14px}.grid{stroke:#d0d7de}.l{fill:none;stroke-width:2}
.c0{stroke:#0969da}.c1{stroke:#bc4c00;stroke-dasharray:7 3}.c2{stroke:#1a7f37;stroke-dasharray:2 3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}.c0{stroke:#58a6ff}.c1{stroke:#ffa657}.c2{stroke:#56d364}}`;

/** 1, 2 or 5 and zeros: the step of a scale that reaches the value. */
function stepFor(most: number): number {
  const raw = Math.max(most, 1) / STEPS;
  const size = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 2.5, 5, 10].find((one) => one * size >= raw) ?? 10) * size;
}

export function picture({ lines, title, unit }: Picture): string {
  const points = lines.flatMap((line) => line.points);
  const hours = points.map(([hour]) => hour);
  const [first, last] = [Math.floor(Math.min(...hours)), Math.max(...hours)];
  const most = Math.max(...points.map(([, value]) => value));
  const step = stepFor(most);
  const steps = Math.max(1, Math.ceil(most / step));
  const x = (hour: number) => LEFT + ((hour - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / (step * steps)) * (HEIGHT - TOP - BOTTOM);
  const at = (n: number) => n.toFixed(1);
  const scale = Array.from({ length: steps + 1 }, (_, n) => n * step).map(
    (value) =>
      `<path class="grid" d="M${LEFT} ${at(y(value))}H${WIDTH - RIGHT}"/><text x="${LEFT - 8}" y="${at(y(value) + 4)}" text-anchor="end">${value.toLocaleString("en-US")}</text>`,
  );
  const clock = Array.from({ length: Math.floor((last - first) / 2) + 1 }, (_, n) => first + 2 * n).map(
    (hour) => `<text x="${at(x(hour))}" y="${HEIGHT - 12}" text-anchor="middle">${hour}:00</text>`,
  );
  let keyAt = LEFT;
  const keys = lines.map(({ name }, n) => {
    const here = keyAt;
    keyAt += 52 + name.length * 7.5;
    return `<path class="l c${n}" d="M${at(here)} 42h28"/><text x="${at(here + 34)}" y="46">${name}</text>`;
  });
  const drawn = lines.map(
    ({ points }, n) =>
      `<path class="l c${n}" d="M${points.map(([hour, value]) => `${at(x(hour))} ${at(y(value))}`).join("L")}"/>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
<style>${STYLE}</style>
<text class="title" x="${LEFT}" y="20">${title} (${unit})</text>
${[...keys, ...scale, ...clock, ...drawn].join("\n")}
</svg>
`;
}
