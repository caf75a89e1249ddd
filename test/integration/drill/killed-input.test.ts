/** The gateway dies while somebody's file goes into a sandbox: nobody else ever sees a byte of it. */
import { setTimeout as delay } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LONG_FORM, seeded } from "../../support/drill.ts";
import { uploadForm } from "../../support/files/app.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const MIB = 1024 * 1024;
const ROUNDS = LONG_FORM ? 50 : 4;
/** A fresh call with this input takes about as long. */
const TRANSFER_MS = 600;
const POOL = 2;
const LIST = "import os; print(os.listdir('/mnt/data'))";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ env: { KERNELYARD_POOL_SIZE: String(POOL) } });
});
afterAll(() => stack?.stop());

const Uploaded = z.object({
  storage_session_id: z.string(),
  files: z.array(z.object({ fileId: z.string(), filename: z.string() })),
});

it(`kill -9 at ${ROUNDS} moments of an input`, { timeout: ROUNDS * 60_000 }, async () => {
  const { body, headers } = uploadForm({}, ["secret.bin", "s".repeat(40 * MIB)]);
  const answer = await fetch(`${stack.baseUrl}/v1/upload/batch`, {
    method: "POST",
    headers: { ...headers, "x-api-key": stack.apiKey },
    body,
  });
  const { files, storage_session_id } = Uploaded.parse(await answer.json());
  const refs = files.map(({ fileId, filename }) => ({ id: fileId, storage_session_id, name: filename }));
  const random = seeded(11);
  for (let round = 0; round < ROUNDS; round++) {
    const call = stack.post("/v1/exec", { lang: "py", code: LIST, files: refs }).then(
      (response) => response.text(),
      () => "the connection broke",
    );
    await delay(random() * TRANSFER_MS);
    await stack.gateway.signal("SIGKILL");
    await call;
    await stack.startGateway();
    for (let n = 0; n <= POOL; n++) {
      const response = await stack.post("/v1/exec", { lang: "py", code: LIST });
      expect(await response.json()).toMatchObject({ stdout: "[]\n" });
    }
  }
});
