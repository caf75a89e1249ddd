/** What came of days, as a table and as pictures. Pure. */
import { boundsFor } from "../../gateway/server/sessions/demand.ts";
import { mostOf, placesForCallers } from "../../gateway/server/sessions/shares.ts";
import { type Costs, stepsOf } from "./costs.ts";
import { type Line, picture } from "./picture.ts";
import type { Scenario } from "./scenarios.ts";
import { capacityFor, defaultSettings, MIB, type Result } from "./simulate.ts";
import { HOUR } from "./workload.ts";

const count = (value: number) => Math.round(value).toLocaleString("en-US");
const time = (ms: number) =>
  ms < 1_000 ? `${ms < 10 ? ms.toFixed(1) : count(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
const percent = (share: number) => `${(share * 100).toFixed(share < 0.01 ? 2 : 0)} %`;

const COLUMNS: readonly (readonly [string, (result: Result, scenario: Scenario) => string])[] = [
  [
    "users",
    ({ users }, { environment = {} }) =>
      [count(users), ...Object.entries(environment).map(([name, value]) => `\`${name}=${value}\``)].join(
        ", ",
      ),
  ],
  [
    "a host",
    ({ capacity, machine }) => `${machine.cpus} CPU, ${machine.memoryGib} GiB: ${capacity} sandboxes`,
  ],
  [
    "hosts at most, on average",
    ({ hostHours, hostsMost, quarters }) => `${hostsMost}, ${(hostHours / (quarters.length / 4)).toFixed(1)}`,
  ],
  ["calls", ({ calls }) => count(calls)],
  ["refused", ({ refused }) => count(refused)],
  [
    "wait p50, p99, longest",
    ({ waitMost, waitP50, waitP99 }) => [waitP50, waitP99, waitMost].map(time).join(", "),
  ],
  ["wakes in the busiest hour", ({ wakesInBusiestHour }) => count(wakesInBusiestHour)],
  [
    "calls told of lost variables: disk full, host gone",
    ({ calls, resetsByDisk, resetsByMove }) =>
      [resetsByDisk, resetsByMove].map((one) => percent(one / calls)).join(", "),
  ],
  ["engine, commands a second at most", ({ commandsPerSecond }) => count(commandsPerSecond)],
  ["disk of a host at most", ({ diskGib }) => `${count(diskGib)} GiB`],
  ["CPU of user code at most", ({ cpu }) => percent(cpu)],
];

/** One line of Markdown for a day. */
export const row = (result: Result, scenario: Scenario): string =>
  `| ${COLUMNS.map(([, of]) => of(result, scenario)).join(" | ")} |`;

export const head: readonly string[] = [
  `| ${COLUMNS.map(([title]) => title).join(" | ")} |`,
  `|${COLUMNS.map(() => "---").join("|")}|`,
];

/** By file name: the drawn day. */
export function pictures({ quarters, users }: Result): Readonly<Record<string, string>> {
  const over = (name: string, of: (quarter: Result["quarters"][number]) => number): Line => ({
    name,
    points: quarters.map((quarter) => [quarter.at / HOUR, of(quarter)]),
  });
  const who = `${count(users)} users`;
  return {
    "places.svg": picture({
      title: `A Monday of ${who}: places`,
      unit: "sandboxes",
      lines: [
        over("places of all hosts", ({ places }) => places),
        over("taken", ({ taken }) => taken),
        over("in which code runs", ({ busy }) => busy),
      ],
    }),
    "waits.svg": picture({
      title: `A Monday of ${who}: how long a call waits for its code to begin`,
      unit: "ms",
      lines: [over("p99", ({ waitP99 }) => waitP99), over("p50", ({ waitP50 }) => waitP50)],
    }),
  };
}

const MACHINES_GIB = [4, 8, 16, 32, 64] as const;

/** What hosts hold by the product's own rules and defaults. */
export function fitTable(): readonly string[] {
  const settings = defaultSettings();
  const most = Math.floor(settings.sleepDiskBytes / 1e6 / IMAGE_MB);
  return [
    "| memory of a host | sandboxes | spare ones, quiet to busy | calls at a time, of one user and of all | sessions asleep |",
    "|---|---|---|---|---|",
    ...MACHINES_GIB.map((gib) => {
      const capacity = capacityFor(settings, gib);
      const places = placesForCallers(capacity);
      const spare = boundsFor(capacity);
      const calls = `${mostOf(places, { shared: false })}, ${places}`;
      return `| ${gib} GiB | ${capacity} | ${spare.least} to ${spare.most} | ${calls} | ${most} in ${Math.round(settings.sleepDiskBytes / MIB / 1024)} GiB of disk |`;
    }),
  ];
}

/** As docs/sessions.md and docs/settings.md say. */
const IMAGE_MB = 160;

export const costTable = (costs: Costs): readonly string[] => [
  "| step | half of them take at most | 99 of 100 | from, and what measures it |",
  "|---|---|---|---|",
  ...stepsOf(costs).map(([title, { bench, from, p50, p99 }, unit]) => {
    const value = (one: number) => (unit === "ms" ? time(one) : `${count(one)} ${unit}`);
    const measures = bench === null ? "" : `, \`npm run bench -- ${bench.row}\``;
    return `| ${title} | ${value(p50)} | ${value(p99)} | ${from}${measures} |`;
  }),
];
