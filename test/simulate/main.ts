/**
 * `npm run simulate`: how many hosts so many users need, how long calls wait, what the directory's engine is asked. The same seed prints
 * the same. `--users N`, `--cpus N`, `--memory GIB`, `--least N`, `--most N` (hosts), `--seed N`, `--set KERNELYARD_…=VALUE` as often as
 * wanted: one day. `--costs FILE`: other costs than `costs.json`; `--bench FILE`: those that a bench measured. `--write`: docs/scaling.md.
 */
import { parseArgs } from "node:util";
import { DEFAULT_COSTS, readCosts, withBench } from "./costs.ts";
import { write } from "./document.ts";
import { head, row } from "./report.ts";
import { DRAWN, optionsOf, SCENARIOS, type Scenario, SEED } from "./scenarios.ts";
import { simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    users: { type: "string" },
    cpus: { type: "string", default: "2" },
    memory: { type: "string", default: "8" },
    least: { type: "string", default: "1" },
    most: { type: "string", default: "128" },
    seed: { type: "string", default: String(SEED) },
    set: { type: "string", multiple: true, default: [] },
    costs: { type: "string", default: DEFAULT_COSTS },
    bench: { type: "string" },
    write: { type: "boolean", default: false },
  },
});

function whole(name: "users" | "cpus" | "memory" | "least" | "most" | "seed", least: number): number {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < least)
    throw new Error(`--${name} ${values[name]}: must be a whole number, ${least} or more`);
  return number;
}

function asked(): readonly Scenario[] {
  if (values.users === undefined) return SCENARIOS;
  const environment = Object.fromEntries(
    values.set.map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]),
  );
  const machine = { cpus: whole("cpus", 1), memoryGib: whole("memory", 1) };
  const leastHosts = whole("least", 1);
  return [
    {
      users: whole("users", 1),
      machine,
      leastHosts,
      mostHosts: Math.max(leastHosts, whole("most", 1)),
      environment,
    },
  ];
}

const known = readCosts(values.costs);
const costs = values.bench === undefined ? known : withBench(known, values.bench);
const days = asked().map((scenario) => {
  const result = simulate(optionsOf(scenario, costs, whole("seed", 0)));
  return { result, line: row(result, scenario) };
});
process.stdout.write(`${[...head, ...days.map(({ line }) => line)].join("\n")}\n`);
const drawn = days[DRAWN];
if (values.write) {
  if (drawn === undefined) throw new Error("--write: without --users");
  write(
    days.map(({ line }) => line),
    drawn.result,
    costs,
  );
}
