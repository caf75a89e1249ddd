/**
 * What people bring and ask for, in the profiles' images: `analyst` in the short form, `documents` as well in the long one
 * (`npm run drill -- profiles`). The table says how long each task's call took.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LONG_FORM } from "../../support/drill.ts";
import { testImageOf } from "../../support/profile-images.ts";
import { type Stack, startStack } from "../../support/stack.ts";
import { carryOut, tasksOf } from "../profiles/tasks.ts";

/** Of one task's call: LibreOffice starts in seconds, not in minutes. */
const WITHIN_MS = 60_000;

describe.each(LONG_FORM ? ["analyst", "documents"] : ["analyst"])(
  "everyday tasks in profile %s",
  (profile) => {
    let stack: Stack;
    const table: string[] = [];
    beforeAll(async () => {
      stack = await startStack({
        checkpoints: "ready",
        env: {
          KERNELYARD_PROFILE: profile,
          KERNELYARD_IMAGE: testImageOf(profile),
          // As the README has it: kaleido's browser and LibreOffice are too much for the default's 512 MiB at times.
          KERNELYARD_MEMORY: "1g",
        },
      });
    });
    afterAll(async () => {
      process.stdout.write(`${profile}: ${table.join(", ")}\n`);
      await stack?.stop();
    });

    it.each(tasksOf(profile))("$name: $asked", async (task) => {
      const ms = await carryOut(stack, task);
      table.push(`${task.name} ${(ms / 1000).toFixed(1)} s`);
      expect(ms).toBeLessThan(WITHIN_MS);
    });
  },
);

it("has twenty tasks", () => {
  expect(tasksOf("analyst").length + tasksOf("documents").length).toBeGreaterThanOrEqual(20);
});
