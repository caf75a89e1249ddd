/** docs/scaling.md has what `npm run simulate` prints now. The largest days take too long for here; they are of the same code. */
import { expect, it } from "vitest";
import { readCosts } from "../../simulate/costs.ts";
import { pictureThere, tableThere } from "../../simulate/document.ts";
import { costTable, fitTable, head, pictures, row } from "../../simulate/report.ts";
import { DRAWN, optionsOf, SCENARIOS } from "../../simulate/scenarios.ts";
import { simulate } from "../../simulate/simulate.ts";

const COSTS = readCosts();
const QUICK = 1_000;

it("has each day, as it is played now (npm run generate)", () => {
  const lines = tableThere("days");
  expect(lines.slice(0, head.length)).toEqual(head);
  expect(lines.length).toBe(head.length + SCENARIOS.length);
  SCENARIOS.forEach((scenario, n) => {
    if (scenario.users > QUICK && n !== DRAWN) return;
    const result = simulate(optionsOf(scenario, COSTS));
    expect(lines[head.length + n]).toBe(row(result, scenario));
    if (n !== DRAWN) return;
    for (const [name, svg] of Object.entries(pictures(result))) expect(pictureThere(name), name).toBe(svg);
  });
});

it("has what fits on a host, and what steps cost (npm run generate)", () => {
  expect(tableThere("what fits")).toEqual(fitTable());
  expect(tableThere("costs")).toEqual(costTable(COSTS));
});
