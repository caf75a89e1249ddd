/** What holds for the kernel as a plain process holds in the image under gVisor: scripts, and what only it has. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { docker, engineEnvironment } from "../../../sandbox-image/tools/engine.ts";
import { IMAGE_TAG } from "../../../sandbox-image/tools/plan.ts";
import { sandboxRunArgs, verifyOptions } from "../../../sandbox-image/tools/verify/verify.ts";
import { runTwice, scriptNames } from "../../protocol/scripts.ts";
import { Conversation } from "../../protocol/supervised.ts";

const IMAGE = process.env.KERNELYARD_IMAGE ?? IMAGE_TAG;

function start(): { sandbox: Conversation; name: string } {
  const name = `kernelyard-scripts-${randomBytes(6).toString("hex")}`;
  const args = sandboxRunArgs(IMAGE, verifyOptions(), { name, interactive: true });
  const engine = spawn("docker", args, { env: engineEnvironment(), stdio: ["pipe", "pipe", "pipe"] });
  return { sandbox: new Conversation(engine), name };
}

// Programs that were begun together in one sandbox would see each other's files.
describe("a fresh call means what a script means, in the image under gVisor", () => {
  const sandboxes = [start(), start()] as const;
  afterAll(async () => {
    for (const { sandbox } of sandboxes) await sandbox[Symbol.asyncDispose]();
    for (const { name } of sandboxes) await docker(["rm", "--force", name]);
  });

  test("all scripts", { timeout: 400_000 }, async () => {
    const waiting = [...scriptNames];
    const differences: { name: string; script: object; call: object }[] = [];
    await Promise.all(
      sandboxes.map(async ({ sandbox }) => {
        for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
          const { script, call } = await runTwice(sandbox, name);
          if (JSON.stringify(script) !== JSON.stringify(call)) differences.push({ name, script, call });
        }
      }),
    );
    expect(differences).toEqual([]);
  });

  test("all fresh calls come from one template, though gVisor is slow to give back a fork's memory", async () => {
    const [{ sandbox }] = sandboxes;
    const parents = new Set<string>();
    for (let call = 0; call < 15; call++) {
      const outcome = await sandbox.run("import os; print(os.getppid())", { script: true });
      parents.add(outcome.stdout);
      // As a person's calls come: what is done in the background is over.
      await delay(300);
    }
    expect([...parents]).toEqual([expect.stringMatching(/^\d+\n$/)]);
  });
});
