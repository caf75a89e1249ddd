/** `docs/openapi.json` is what the service serves. To write it anew: `npx vitest run test/unit/http/openapi.test.ts -u`. */
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startGateway } from "./gateway-under-test.ts";

it("serves the committed description, at both paths and without a key", async () => {
  const gateway = startGateway("/nonexistent/launcher.sock");
  onTestFinished(() => gateway.stop());
  const served = await gateway.app.request("/openapi.json");
  expect(served.status).toBe(200);
  expect(served.headers.get("content-type")).toContain("application/json");
  const text = await served.text();
  expect(await (await gateway.app.request("/v1/openapi.json")).text()).toBe(text);
  expect(JSON.parse(text)).toMatchObject({ openapi: "3.1.0" });
  await expect(`${text}\n`).toMatchFileSnapshot(join(import.meta.dirname, "../../../docs/openapi.json"));
});
