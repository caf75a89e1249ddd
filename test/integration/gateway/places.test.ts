/** Sandboxes that end by themselves (a stopped engine, an operator's hand) give up their places on a small host. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { unlessGone } from "../../support/abandoned.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const ROUNDS = 4;
const WITHIN = { timeout: 60_000, interval: 200 };

let stack: Stack;

beforeAll(async () => {
  // Three places: less than one round's leak would take them all.
  stack = await startStack({ env: { KERNELYARD_MEMORY_BUDGET: "2g", KERNELYARD_POOL_SIZE: "2" } });
});

afterAll(() => stack?.stop());

const call = () => {
  const session_id = `places-${randomBytes(4).toString("hex")}`;
  return stack.post("/run", { session_id, code: "print(6 * 7)" });
};

it("serves after every sandbox was removed, again and again", async () => {
  for (let round = 0; round < ROUNDS; round++) {
    await expect.poll(async () => (await call()).status, { ...WITHIN, message: `round ${round}` }).toBe(200);
    await expect.poll(async () => (await stack.containers("fresh")).length, WITHIN).toBeGreaterThan(0);
    for (const { Id } of await stack.containers()) {
      // The launcher may be about it: its pool goes round meanwhile.
      await stack.docker.getContainer(Id).remove({ force: true }).catch(unlessGone);
    }
  }
  await expect.poll(async () => (await call()).status, WITHIN).toBe(200);
});
