/**
 * Every way to call `python3` in the table, in the image under gVisor: by a fork of the template and by the interpreter
 * itself, with the same outcome. One call for each sandbox runs all of its cases.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "@hono/zod-openapi";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { docker, engineEnvironment } from "../../../sandbox-image/tools/engine.ts";
import { IMAGE_TAG } from "../../../sandbox-image/tools/plan.ts";
import { sandboxRunArgs, verifyOptions } from "../../../sandbox-image/tools/verify/verify.ts";
import { Conversation } from "../../protocol/supervised.ts";

const IMAGE = process.env.KERNELYARD_IMAGE ?? IMAGE_TAG;
const FIXTURES = join(import.meta.dirname, "../../fixtures/python3");
const SANDBOXES = 2;
const CALL_TIMEOUT_MS = 500_000;

const Cases = z.array(
  z.strictObject({
    name: z.string(),
    run: z.string(),
    files: z.record(z.string(), z.string()).optional(),
    by: z.enum(["fork", "light", "libraries", "itself", "either"]).optional(),
  }),
);
const Result = z.strictObject({ name: z.string(), problems: z.array(z.string()) });

const cases = Cases.parse(parse(readFileSync(join(FIXTURES, "cases.yaml"), "utf8")));

function start(): { sandbox: Conversation; name: string } {
  const name = `kernelyard-python3-${randomBytes(6).toString("hex")}`;
  const args = sandboxRunArgs(IMAGE, verifyOptions(), { name, interactive: true });
  const engine = spawn("docker", args, { env: engineEnvironment(), stdio: ["pipe", "pipe", "pipe"] });
  return { sandbox: new Conversation(engine), name };
}

describe("python3 in bash, in the image under gVisor", () => {
  const sandboxes = Array.from({ length: SANDBOXES }, start);
  afterAll(async () => {
    for (const { sandbox } of sandboxes) await sandbox[Symbol.asyncDispose]();
    for (const { name } of sandboxes) await docker(["rm", "--force", name]);
  });

  test("the table has names of its own for at least 150 cases", () => {
    expect(cases.length).toBeGreaterThanOrEqual(150);
    expect(new Set(cases.map((item) => item.name)).size).toBe(cases.length);
  });

  test("every case has the same outcome by a fork and by the interpreter itself", {
    timeout: CALL_TIMEOUT_MS + 60_000,
  }, async () => {
    const results = await Promise.all(
      sandboxes.map(async ({ sandbox }, index) => {
        const own = cases.filter((_, number) => number % SANDBOXES === index);
        await sandbox.hello();
        await sandbox.write("cases.json", JSON.stringify(own));
        await sandbox.write("run_cases.py", readFileSync(join(FIXTURES, "run_cases.py")));
        const { stdout, stderr } = await sandbox.run("python3.11 run_cases.py cases.json /tmp", {
          language: "bash",
          timeoutMs: CALL_TIMEOUT_MS,
          stdoutLimit: 4 * 1024 * 1024,
          collect: false,
        });
        expect(stderr).toBe("");
        const lines = stdout.trimEnd().split("\n");
        return lines.map((line) => Result.parse(JSON.parse(line)));
      }),
    );
    expect(
      results
        .flat()
        .map((result) => result.name)
        .sort(),
    ).toEqual(cases.map((item) => item.name).sort());
    expect(results.flat().filter((result) => result.problems.length > 0)).toEqual([]);
  });
});
