/** Who gets into the console, what its pages say of hostile names, and what they change; the launcher is a stand-in. */
import { beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../../gateway/server/audit/entry.ts";
import type { AuditSink } from "../../../gateway/server/audit/log.ts";
import { TRIES } from "../../../gateway/server/console/access.ts";
import { CONDITIONS } from "../../../gateway/server/console/conditions.ts";
import { History } from "../../../gateway/server/console/history.ts";
import { LANGUAGES, languageOf, TEXTS } from "../../../gateway/server/console/texts.ts";
import { Reading } from "../../../gateway/server/metrics/metrics.ts";
import { ALERTS } from "../../../monitoring/alerts.ts";
import { japanese } from "../../../monitoring/runbooks.ts";
import { readDocument } from "../../support/documents.ts";
import { KEY, NO_FILES, startGateway, until } from "../http/gateway-under-test.ts";
import { ECHO, LauncherStandIn } from "../sessions/launcher-stand-in.ts";

const OPERATOR_KEY = "operator-key-0123456789-0123456789";
const HOSTILE = `"><img src=x onerror=alert(1)><script>'&`;

let launcher: LauncherStandIn;
let gateway: ReturnType<typeof startGateway>;
let entries: AuditEntry[];

beforeEach(async () => {
  launcher = new LauncherStandIn();
  await launcher.start();
  launcher.script = (message, body, sandbox) =>
    ECHO(message, body.toString() === "print(6 * 7)" ? Buffer.from("42\n") : body, sandbox);
  entries = [];
  const audit: AuditSink = {
    lost: 0,
    copied: null,
    write: (entry) => void entries.push(entry),
    recent: async (most) => entries.toReversed().slice(0, most),
    erase: () => Promise.reject(new Error("the console erases nobody")),
  };
  const files = { ...NO_FILES, usage: async () => ({ bytes: 1024, files: 1 }) };
  gateway = startGateway(launcher.socketPath, { KERNELYARD_OPERATOR_KEY: OPERATOR_KEY }, files, audit);
  return async () => {
    gateway.stop();
    await launcher.dispose();
  };
});

function ask(path: string, init: RequestInit = {}, cookie = "") {
  if (gateway.console === null) throw new Error("there is no console");
  const headers = { host: "console:3115", accept: "text/html", cookie, ...Object(init.headers) };
  return gateway.console.app.request(`http://console:3115${path}`, { ...init, headers });
}

const OWN = { origin: "http://console:3115", "sec-fetch-site": "same-origin" };
const post = (path: string, fields: Record<string, string>, cookie = "", headers: object = OWN) =>
  ask(path, { method: "POST", body: new URLSearchParams(fields), headers: { ...headers } }, cookie);

async function signedIn(): Promise<string> {
  const answer = await post("/sign-in", { key: OPERATOR_KEY });
  expect(answer.status).toBe(303);
  return (answer.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
}

const PATHS = ["/", "/sessions", "/files", "/usage", "/image", "/doctor", "/audit", "/cell"];
const SECRET_PATHS = [...PATHS, "/history.json", "/parts/sessions", "/parts/findings", "/cell/figures/a/b"];

describe("the way in", () => {
  it.each(SECRET_PATHS)("%s is for who is signed in", async (path) => {
    for (const cookie of ["", "kernelyard_console=", "kernelyard_console=AAAA", `x=${OPERATOR_KEY}`]) {
      expect((await ask(path, {}, cookie)).status).toBe(401);
    }
    expect(
      (await ask(path, { headers: { "x-api-key": KEY, authorization: `Bearer ${OPERATOR_KEY}` } })).status,
    ).toBe(401);
    expect((await ask(`${path}?key=${OPERATOR_KEY}`)).status).toBe(401);
  });

  it("is the operator's key, and a cookie that no script reads and no other site sends", async () => {
    for (const key of ["", KEY, `${OPERATOR_KEY}x`, "x".repeat(100_000)]) {
      expect((await post("/sign-in", { key })).status).toBe(401);
    }
    const answer = await post("/sign-in", { key: OPERATOR_KEY });
    expect(answer.headers.get("set-cookie")).toMatch(/HttpOnly; SameSite=Strict$/);
    expect(answer.headers.get("set-cookie")).not.toContain(OPERATOR_KEY);
  });

  it("is open to a few tries a minute, right or wrong", async () => {
    for (let n = 0; n < TRIES.points; n++) await post("/sign-in", { key: "wrong" });
    const late = await post("/sign-in", { key: OPERATOR_KEY });
    expect(late.status).toBe(429);
    expect(Number(late.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("closes with signing out", async () => {
    const cookie = await signedIn();
    expect((await ask("/", {}, cookie)).status).toBe(200);
    expect((await post("/sign-out", {}, cookie)).status).toBe(303);
    expect((await ask("/", {}, cookie)).status).toBe(401);
  });

  it("is not there without a key, with port 0, or with a key that is too short", () => {
    const without = (env: Record<string, string>) => startGateway(launcher.socketPath, env);
    for (const env of [{}, { KERNELYARD_OPERATOR_KEY: OPERATOR_KEY, KERNELYARD_CONSOLE_PORT: "0" }]) {
      const other = without(env as Record<string, string>);
      expect(other.console).toBeNull();
      other.stop();
    }
    expect(() => without({ KERNELYARD_OPERATOR_KEY: "short" })).toThrow(
      /KERNELYARD_OPERATOR_KEY: must have at least 32/,
    );
  });
});

describe("what changes something", () => {
  it.each([
    ["another site's form", { origin: "http://evil.example", "sec-fetch-site": "cross-site" }],
    ["a neighbour's port", { origin: "http://console:8080", "sec-fetch-site": "same-site" }],
    ["a page that hides where it comes from", { origin: "null" }],
    ["a request that says nothing", {}],
  ])("is refused to %s, and done for an own page", async (_, headers) => {
    const cookie = await signedIn();
    await gateway.post("/run", { session_id: "mine", code: "1" });
    const session = JSON.stringify({ kind: "named", tenant: "default", name: "mine" });
    expect((await post("/sessions/end", { session }, cookie, headers)).status).toBe(403);
    expect((await post("/cell/run", { code: "1" }, cookie, headers)).status).toBe(403);
    expect(launcher.removed).toEqual([]);
    const own = await post("/sessions/end", { session }, cookie, { ...OWN, "hx-request": "true" });
    expect(await own.text()).toBe(TEXTS.en.done_end);
    expect(launcher.removed).toHaveLength(1);
  });

  it("is in the audit log as the operator's", async () => {
    const cookie = await signedIn();
    await gateway.post("/run", { session_id: "mine", code: "1" });
    const session = JSON.stringify({ kind: "named", tenant: "default", name: "mine" });
    await post("/sessions/restart", { session }, cookie);
    expect(entries.at(-1)).toMatchObject({
      action: "restart",
      tenant: "-operator",
      subject: "console",
      auth: "operator-key",
      session: "default/mine",
      status: 200,
    });
  });

  it.each([
    "",
    "{}",
    "[]",
    '{"kind":"named","tenant":"default","name":"../x"}',
    '{"kind":"named","tenant":"default","name":"unknown"}',
  ])("says that there is no session %s", async (session) => {
    const answer = await post("/sessions/end", { session }, await signedIn(), {
      ...OWN,
      "hx-request": "true",
    });
    expect(await answer.text()).toBe(TEXTS.en.noSuchSession);
  });
});

describe("pages", () => {
  it.each(PATHS)("%s has its policy and nothing of other hosts", async (path) => {
    const answer = await ask(path, {}, await signedIn());
    expect(answer.status).toBe(200);
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const text = await answer.text();
    expect(text).not.toMatch(/(?:src|href|action)="(?:https?:)?\/\//);
    expect(text).not.toMatch(/ on\w+="|<style| style="|<script>/);
  });

  it("shows what comes from outside as text", async () => {
    entries.push({
      time: new Date(0).toISOString(),
      host: HOSTILE,
      request: HOSTILE,
      tenant: HOSTILE,
      subject: HOSTILE,
      auth: HOSTILE,
      action: "execute",
      status: 200,
      error: HOSTILE,
      duration_ms: 1,
      session: HOSTILE,
      language: HOSTILE,
      code_bytes: 1,
      code_sha256: null,
      outcome: null,
      reason: null,
      image: null,
      inputs: null,
      outputs: null,
    });
    launcher.script = (message, body, sandbox) => {
      if (message.msg_type !== "execute_request") throw new Error(`unexpected ${message.msg_type}`);
      const libraries = body.toString().includes("distributions");
      sandbox.print(message.msg_id, libraries ? JSON.stringify([[HOSTILE, HOSTILE]]) : "42\n");
      sandbox.reply(message.msg_id);
    };
    const cookie = await signedIn();
    for (const path of [
      "/audit",
      `/audit?action=${encodeURIComponent(HOSTILE)}`,
      "/parts/libraries",
      "/parts/findings",
    ]) {
      const text = await (await ask(path, {}, cookie)).text();
      expect(text).not.toContain("<img");
      if (!path.includes("findings")) expect(text).toContain("&lt;img src=x");
    }
    const odd = await ask(`/?lang=${encodeURIComponent(HOSTILE)}`, {}, cookie);
    expect(await odd.text()).not.toContain("<img");
  });

  it("lists sessions of all tenants with how they went", async () => {
    await gateway.post("/run", { session_id: "one", code: "1" });
    const text = await (await ask("/sessions", {}, await signedIn())).text();
    expect(text).toContain("<code>one</code>");
    expect(text).toContain("completed");
    expect(text).toContain('aria-label="Restart: one"');
  });

  it("speak the language that was chosen, else the browser's", async () => {
    const cookie = await signedIn();
    const japanese = await ask("/", { headers: { "accept-language": "ja-JP,en;q=0.5" } }, cookie);
    expect(await japanese.text()).toContain('<html lang="ja">');
    const chosen = await ask("/?lang=en", { headers: { "accept-language": "ja" } }, cookie);
    expect(chosen.headers.get("set-cookie")).toContain("kernelyard_language=en");
    expect([languageOf(undefined, "fr, ja;q=0.8"), languageOf("xx", undefined)]).toEqual(["ja", "en"]);
  });
});

describe("the cell", () => {
  it("streams as the API does, in a session of nobody else's", async () => {
    const cookie = await signedIn();
    const answer = await post("/cell/run", { lang: "py", code: "<b>1</b>", keep: "on" }, cookie);
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    const text = await answer.text();
    expect(text).toContain('event: stdout\ndata: {"text":"<b>1</b>"}');
    expect(text).toContain("event: result");
    await until(() => entries.length > 0);
    expect(entries.at(-1)).toMatchObject({ action: "execute", tenant: "-operator", outcome: "finished" });
    const mine = await gateway.app.request("/runtime-sessions", { headers: { "x-api-key": KEY } });
    expect(await mine.json()).toEqual({ sessions: [] });
  });

  it("says what is refused before it runs", async () => {
    const answer = await post("/cell/run", { lang: "nope", code: "1" }, await signedIn());
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: expect.any(String) });
  });
});

it("nobody who sends headers is taken for the operator", async () => {
  const answer = await gateway.app.request("/runtime-sessions", {
    headers: { "x-operator": "1", cookie: await signedIn() },
  });
  expect(answer.status).toBe(401);
});

it("every condition is an alert's, in its words", () => {
  const alerts = new Map(ALERTS.map((alert) => [alert.name, alert]));
  for (const { alert, en, ja, severity } of CONDITIONS) {
    expect({ alert, severity, en, ja }).toEqual({
      alert,
      severity: alerts.get(alert)?.severity,
      en: alerts.get(alert)?.summary,
      ja: japanese(en),
    });
  }
});

it("each language says everything", () => {
  for (const language of LANGUAGES) {
    expect(Object.keys(TEXTS[language])).toEqual(Object.keys(TEXTS.en));
    expect(Object.values(TEXTS[language])).not.toContain("");
    for (const { alert } of CONDITIONS) {
      expect(readDocument(TEXTS[language].runbooks)).toContain(`\n## ${alert}\n`);
    }
  }
});

describe("Japanese", () => {
  /** Signs, paths, and the name of the other language. */
  const alike = ["of", "runbooks", "otherLanguage"];

  it("is Japanese", () => {
    const texts = Object.entries(TEXTS.ja).filter(([name]) => !alike.includes(name));
    expect(texts.filter(([, said]) => !/[\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Han}]/u.test(said))).toEqual([]);
  });

  it.each(PATHS)("%s has no English beside it", async (path) => {
    const headers = { "accept-language": "ja,en;q=0.5" };
    const page = await (await ask(path, { headers }, await signedIn())).text();
    expect(page).toContain('<html lang="ja">');
    // Single words are also names of what things are called elsewhere: actions in the audit log, states.
    const english = Object.entries(TEXTS.en).filter(
      ([name, said]) => said.includes(" ") && !alike.includes(name),
    );
    expect(english.filter(([, said]) => page.includes(said))).toEqual([]);
  });
});

describe("the last hours", () => {
  const reading = (requests: number, errors: number, quick: number) =>
    new Reading([
      { name: "http_requests_total", labels: { path: "/exec", status: "200" }, value: requests - errors },
      { name: "http_requests_total", labels: { path: "/exec", status: "503" }, value: errors },
      { name: "http_requests_total", labels: { path: "/health", status: "200" }, value: 1e6 },
      { name: "http_request_duration_seconds_bucket", labels: { path: "/exec", le: "0.01" }, value: quick },
      { name: "http_request_duration_seconds_bucket", labels: { path: "/exec", le: "1" }, value: requests },
      {
        name: "http_request_duration_seconds_bucket",
        labels: { path: "/exec", le: "+Inf" },
        value: requests,
      },
    ]);

  it("are what happened between two looks, and never more than six of them", () => {
    const history = new History(() => Promise.reject(new Error("nobody looks")));
    history.add(reading(100, 0, 100), 0);
    history.add(reading(130, 3, 120), 30_000);
    expect(history.points).toEqual([
      { time: 30, requestsPerMinute: 60, errorsPerMinute: 6, p50: 0.01, p95: 1, awake: null, asleep: null },
    ]);
    for (let n = 2; n < 1000; n++) history.add(reading(130, 3, 120), n * 30_000);
    expect(history.points).toHaveLength(720);
    expect(history.points.at(-1)).toMatchObject({ requestsPerMinute: 0, p50: null });
  });
});
