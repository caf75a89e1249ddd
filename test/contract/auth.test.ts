/** Who gets in, over HTTP, in every mode; and how often. */
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { WINDOWS } from "../../gateway/server/auth/rate-limits.ts";
import { callTool, loadAgents } from "../support/librechat/clients.ts";
import { ALICE, BOB, type Service, startService } from "./support/service.ts";

let service: Service | null = null;
afterEach(async () => {
  await service?.stop();
  service = null;
});

const ask = (of: Service, method: string, path: string, headers: Record<string, string>, body?: object) =>
  fetch(`${of.baseUrl}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const exec = (of: Service, headers: Record<string, string>, extra: object = {}) =>
  ask(of, "POST", "/exec", headers, { lang: "bash", code: "echo in", ...extra });

const Refusal = z.object({ error: z.string() });
const Made = z.object({ session_id: z.string(), files: z.array(z.object({ id: z.string() })) });

const ID = "a".repeat(21);
const ROUTES: readonly [string, string, object?][] = [
  ["POST", "/exec", { lang: "py", code: "1" }],
  ["POST", "/exec/programmatic", { code: "1", tools: [{ name: "t" }] }],
  ["POST", "/exec/programmatic/cancel", { request_id: "r" }],
  ["POST", "/upload", {}],
  ["POST", "/upload/batch", {}],
  ["GET", `/download/${ID}/${ID}`],
  ["GET", `/sessions/${ID}/objects/${ID}`],
  ["GET", `/files/${ID}`],
  ["DELETE", `/sessions/${ID}/objects/${ID}`],
  ["DELETE", `/files/${ID}/${ID}`],
];

describe("a-11 tokens and keys together", () => {
  it("every route asks who is calling, /health does not", async () => {
    const running = await startService();
    service = running;
    const token = service.authorization();
    const key = { "x-api-key": service.apiKey };
    for (const [method, path, body] of ROUTES) {
      const said = async (headers: Record<string, string>) => {
        const response = await ask(running, method, path, headers, body);
        return [response.status, Refusal.parse(await response.json()).error];
      };
      expect(await said({}), path).toEqual([401, "Bearer token is required"]);
      expect(await said({ Authorization: "Bearer nonsense" }), path).toEqual([401, "Invalid bearer token"]);
      expect(await said({ "x-api-key": "not-one-of-the-keys" }), path).toEqual([401, "Invalid API key"]);
      expect(await said({ ...token, ...key }), path).toEqual([400, "Ambiguous authentication headers"]);
    }
    const health = await ask(service, "GET", "/health", {});
    expect([health.status, await health.text()]).toEqual([200, "OK"]);
    expect((await exec(service, token)).status).toBe(200);
    expect((await exec(service, key)).status).toBe(200);
    // LibreChat uses a token for half a minute.
    expect((await exec(service, token)).status).toBe(200);
    // The client says so to the model, and does not retry.
    const stranger = loadAgents().createCodeExecutionTool({
      baseUrl: service.baseUrl,
      authHeaders: { Authorization: "Bearer x" },
    });
    await expect(callTool(stranger, "execute_code", { lang: "py", code: "1" })).rejects.toMatchObject({
      retryable: false,
      message: expect.stringContaining("not authorized"),
    });
  });
});

describe("a-11 a token that is refused", () => {
  it("says in the log why: no credentials, another key's name, a clock that is off", async () => {
    const running = await startService();
    service = running;
    const now = Math.floor(Date.now() / 1000);
    const ahead = { iat: now + 600, nbf: now + 600, exp: now + 900 };
    const behind = { iat: now - 700, nbf: now - 700, exp: now - 400 };
    const cases: readonly [Record<string, string>, RegExp][] = [
      [{}, /no credentials/],
      [running.authorization(ALICE, { header: { kid: "last-year" } }), /unknown kid ."last-year/],
      [running.authorization(ALICE, { header: { kid: undefined } }), /no kid/],
      [running.authorization(ALICE, { claims: ahead }), /off by about (599|600) s/],
      [running.authorization(ALICE, { claims: behind }), /expired 40\d s ago.*off by about 67\d s/],
    ];
    for (const [headers, why] of cases) {
      const logged = running.stack.gateway.line((line) => (line.includes('"status":401') ? line : null));
      expect((await exec(running, headers)).status).toBe(401);
      expect(await logged).toMatch(why);
    }
    // The same pair, by its name and in time.
    expect((await exec(running, running.authorization())).status).toBe(200);
  });
});

describe("c-13 a private network", () => {
  it("works without any header, as newer LibreChat sends none; ids are the capability", async () => {
    service = await startService({ KERNELYARD_AUTH: "none" });
    const made = await exec(service, {}, { code: "echo made > made.txt", user_id: ALICE.id });
    expect(made.status).toBe(200);
    const { session_id, files } = Made.parse(await made.json());
    const [file] = files;
    for (const path of [
      `/download/${session_id}/${file?.id}?kind=user&id=${ALICE.id}`,
      `/download/${session_id}/${file?.id}`,
      `/sessions/${session_id}/objects/${file?.id}?kind=user&id=${BOB.id}`,
      `/files/${session_id}?detail=summary`,
    ]) {
      expect((await ask(service, "GET", path, {})).status, path).toBe(200);
    }
    // A key that nobody asked for is no reason to refuse.
    expect((await exec(service, { "x-api-key": "legacy" })).status).toBe(200);
  });
});

describe("a-13 rate limits", () => {
  it("refuse one execution too many of one user in the words the client reads, and nobody else", async () => {
    service = await startService({ KERNELYARD_RATE_LIMITS: "on" });
    // Refused before anything runs, and counted all the same.
    const empty = (of: Service, user = ALICE) =>
      ask(of, "POST", "/exec", of.authorization(user), { lang: "bash" });
    const { points } = WINDOWS.exec;
    for (let i = 1; i <= points; i++) {
      const response = await empty(service);
      expect(response.status).toBe(400);
      expect(response.headers.get("RateLimit-Limit")).toBe(String(points));
      expect(response.headers.get("RateLimit-Remaining")).toBe(String(points - i));
    }
    const refused = await empty(service);
    expect(refused.status).toBe(429);
    const seconds = Number(refused.headers.get("Retry-After"));
    expect(seconds).toBeGreaterThanOrEqual(1);
    expect(seconds).toBeLessThanOrEqual(30);
    expect(await refused.json()).toEqual({
      error: "rate_limited",
      message: expect.any(String),
      retry_after_seconds: seconds,
    });
    expect((await empty(service, BOB)).status).toBe(400);
    const { baseUrl, authorization } = service;
    const tool = loadAgents().createCodeExecutionTool({ baseUrl, authHeaders: async () => authorization() });
    await expect(callTool(tool, "execute_code", { lang: "py", code: "1" })).rejects.toMatchObject({
      retryable: true,
      message: expect.stringMatching(/retry after \d+ second/i),
    });

    for (let i = 0; i < WINDOWS.download.points; i++) {
      expect((await ask(service, "GET", `/download/${ID}/${ID}`, service.authorization())).status).toBe(404);
    }
    const download = await ask(service, "GET", `/download/${ID}/${ID}`, service.authorization());
    expect(download.status).toBe(429);
    expect(await download.json()).toMatchObject({ error: expect.stringMatching(/^Too many download/) });
    expect(Number(download.headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
  });
});
