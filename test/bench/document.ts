/** `docs/performance.md`, made of the reference result. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { drawing } from "./drawing.ts";
import {
  figureOf,
  type MeasuredFigure,
  type MeasuredRow,
  meets,
  middleOf,
  Result,
  withUnit,
  written,
} from "./result.ts";
import { goalText, metText, ratioText, spreadText } from "./text.ts";

export const REFERENCE = "test/bench/reference.json";

export const referenceResult = (): Result =>
  Result.parse(JSON.parse(readFileSync(join(import.meta.dirname, "reference.json"), "utf8")));

const MIB_PER_GIB = 1024;

const tableLine = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;

function goalLines({ figures, title }: MeasuredRow): string[] {
  return figures
    .filter(({ goal }) => goal !== null)
    .map((figure, n) =>
      tableLine([
        n === 0 ? title : "",
        figure.name,
        written(figure),
        spreadText(figure),
        ratioText(figure),
        goalText(figure),
        metText(figure),
      ]),
    );
}

function comparisonLines({ figures, title }: MeasuredRow): string[] {
  return figures
    .filter(({ goal }) => goal === null)
    .map((figure, n) =>
      tableLine([n === 0 ? title : "", figure.name, written(figure), spreadText(figure), ratioText(figure)]),
    );
}

/** How many of a size fit into a GiB. */
const perGib = (figure: MeasuredFigure | null) =>
  figure === null ? "–" : (MIB_PER_GIB / middleOf(figure)).toFixed(middleOf(figure) > 10 ? 1 : 0);

const size = (figure: MeasuredFigure | null) => (figure === null ? "–" : written(figure));

function densityTable(result: Result): string[] {
  const awake = figureOf(result, "memory", "awake, idle");
  const promised = figureOf(result, "memory", "promised to each, used or not");
  const jupyter = figureOf(result, "memory", "ipykernel with the same libraries");
  const asleep = figureOf(result, "density", "disk per sleeping session");
  const services = figureOf(result, "density", "memory of gateway and launcher per conversation");
  return [
    tableLine(["a session", "memory", "sessions per GiB of memory", "disk", "sessions per GiB of disk"]),
    tableLine(["---", "--:", "--:", "--:", "--:"]),
    tableLine(["awake and idle, what it uses", size(awake), perGib(awake), "its files", ""]),
    tableLine(["awake, what is set aside for it", size(promised), perGib(promised), "its files", ""]),
    tableLine(["asleep", "none of its own", "", size(asleep), perGib(asleep)]),
    tableLine(["gateway and launcher for each", size(services), "", "", ""]),
    tableLine(["ipykernel alone, the same libraries", size(jupyter), perGib(jupyter), "", ""]),
  ];
}

/** What the machine did besides, over all rows. */
function surroundings({ machine, rows }: Result): string {
  const loads = rows.flatMap(({ load }) => load);
  const days = [...new Set(rows.map(({ at }) => at.slice(0, 10)))].sort();
  const stolen = Math.max(0, ...rows.map((row) => row.stolen));
  const least = Math.min(...loads);
  return [
    `on ${days.join(", ")}, load ${least} to ${Math.max(...loads)} while it ran`,
    stolen === 0 ? "" : `, up to ${stolen} % of the CPUs' time taken by other machines`,
    ". ",
    // The benchmark alone keeps about as many processes busy as there are CPUs.
    least > 2 * machine.cpus
      ? "**The machine was busy with other work all the while: times are longer than on a quiet one.** "
      : "",
  ].join("");
}

export function performanceDocument(result: Result = referenceResult()): string {
  const { machine, rows } = result;
  const goals = rows
    .flatMap(({ figures }) => figures)
    .map(meets)
    .filter((outcome) => outcome !== null);
  const reasons = rows.flatMap(({ because, name, title }) =>
    because === null ? [] : [`- **${title}** (\`${name}\`): ${because}.`],
  );
  return `# Performance

\`npm run bench\` measures all of this in one run, checks every result, and prints figure, ratio and goal. \`npm run bench -- warm wake\` measures
two rows, \`--runs 3\` each three times; then the middle one counts, and least and most are shown. Where the result is, it says itself;
a picture is beside it. This page is made of \`${REFERENCE}\`, which \`npm run bench -- --reference\` writes anew.

![How long until the answer](performance.svg)

Measured with ${machine.cpus} CPUs (${machine.cpu}), ${withUnit(machine.memory_gib, "GB").replace("GB", "GiB")}, Linux ${machine.kernel}, engine ${machine.engine}, Node ${machine.node.slice(1)},
${surroundings(result)}Trust ratios more than times: both sides of one were measured by turns, in the same minutes.
All sandboxes run under gVisor with a session's own share of a CPU. For comparison: IPython behind the engine's raw attach stream, with nothing in
between; Jupyter Kernel Gateway and ipykernel in a sandbox of the same image and runtime (two CPUs, more memory, and the client inside: no
network is counted); the engine's \`exec\` and \`run\`.

## Goals

${goals.filter((outcome) => outcome).length} of ${goals.length} are met.

${tableLine(["", "figure", "here", "spread", "ratio", "goal", ""])}
${tableLine(["---", "---", "--:", "---", "---", "--:", "---"])}
${rows.flatMap(goalLines).join("\n")}
${reasons.length === 0 ? "" : `\nWhat bounds those that are not met, measured in the same run:\n\n${reasons.join("\n")}\n`}
## Sessions per GiB

${densityTable(result).join("\n")}

A host takes as many awake sessions as what is set aside allows, so that none runs out of memory because of another one; the others
sleep, as many as \`KERNELYARD_SLEEP_DISK\` has room for. Memory is that of the cgroup without the pages of files, which go when somebody needs the room.

## Beside them

${tableLine(["", "figure", "here", "spread", "ratio"])}
${tableLine(["---", "---", "--:", "---", "---"])}
${rows.flatMap(comparisonLines).join("\n")}
`;
}

/** For `npm run generate`. */
export const PERFORMANCE_COPIES: readonly { readonly path: string; readonly make: () => string }[] = [
  { path: "docs/performance.md", make: () => performanceDocument() },
  { path: "docs/performance.svg", make: () => drawing(referenceResult()) },
];
