import { expect, it, onTestFinished } from "vitest";
import { startGateway } from "./gateway-under-test.ts";

it("serves its description, at both paths and without a key", async () => {
  const gateway = startGateway("/nonexistent/launcher.sock");
  onTestFinished(() => gateway.stop());
  const served = await gateway.app.request("/openapi.json");
  expect(served.status).toBe(200);
  expect(served.headers.get("content-type")).toContain("application/json");
  const text = await served.text();
  expect(await (await gateway.app.request("/v1/openapi.json")).text()).toBe(text);
  expect(JSON.parse(text)).toMatchObject({ openapi: "3.1.0" });
});
