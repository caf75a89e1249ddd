/** The policy pack as Pulumi loads it: CommonJS, by ts-node with type checking, under its own package. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { POLICIES } from "../unit/infra/check-policies.ts";
import { ROOT } from "./stack.ts";

const LOAD = `
require("ts-node").register({ project: "policies/tsconfig.json" });
const { POLICIES } = require("./policies/rules");
process.stdout.write(JSON.stringify(POLICIES.map((policy) => policy.name)));
`;

it("loads with its types checked, and holds every rule", async () => {
  const { stdout } = await promisify(execFile)(join(ROOT, "node_modules/.bin/node"), ["-e", LOAD], {
    cwd: ROOT,
  });
  expect(JSON.parse(stdout)).toEqual(POLICIES.map((policy) => policy.name));
});
