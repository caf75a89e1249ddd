/** What a browser finds at the service itself; Chromium looks at it in the console's integration test. */
import { expect, it, onTestFinished } from "vitest";
import { startGateway } from "./gateway-under-test.ts";

const HTML = { accept: "text/html,application/xhtml+xml" };

function gateway(env: Record<string, string> = {}) {
  const started = startGateway("/nonexistent/launcher.sock", env);
  onTestFinished(() => started.stop());
  return started.app;
}

it.each(["/", "/v1", "/v1/"])("a person at %s is told where things are, without a key", async (path) => {
  const answer = await gateway().request(path, { headers: HTML });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'");
  const text = await answer.text();
  for (const part of ['href="api"', 'href="health"', 'href="openapi.json"', "KERNELYARD_OPERATOR_KEY"]) {
    expect(text).toContain(part);
  }
});

it("the console's address is said where there is one", async () => {
  const env = {
    KERNELYARD_OPERATOR_KEY: "operator-key-0123456789-0123456789",
    KERNELYARD_CONSOLE_PORT: "4321",
  };
  const answer = await gateway(env).request("/", { headers: HTML });
  expect(await answer.text()).toContain("http://127.0.0.1:4321");
});

it("a program gets what it got before", async () => {
  const answer = await gateway().request("/", { headers: { accept: "*/*" } });
  expect(answer.status).toBe(404);
  expect(await answer.json()).toMatchObject({ error: "not_found" });
});

it("the API page and all that it needs come from here", async () => {
  const app = gateway();
  const page = await app.request("/v1/api");
  expect(page.status).toBe(200);
  const text = await page.text();
  expect(text).not.toMatch(/https?:/);
  const needed = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
  expect(needed).toHaveLength(4);
  for (const path of needed) {
    const file = await app.request(`/v1/${path}`);
    expect(file.status).toBe(200);
    expect(file.headers.get("content-type")).toMatch(path.endsWith(".js") ? /javascript/ : /css/);
    const again = await app.request(`/v1/${path}`, {
      headers: { "if-none-match": file.headers.get("etag") ?? "" },
    });
    expect(again.status).toBe(304);
  }
});

it.each(["/api/files/index.html", "/api/files/..%2f..%2fpackage.json", "/api/files/pages.ts"])(
  "nothing but these files is served: %s",
  async (path) => expect((await gateway().request(path)).status).toBe(404),
);
