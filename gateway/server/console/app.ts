/** The console's pages: signed in or nowhere, changed by its own pages alone, from no other host. */
import { createHash, randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import type { SessionKey } from "../../common/protocol/launcher-api.ts";
import type { AuditAction } from "../audit/entry.ts";
import { examine } from "../doctor/examine.ts";
import { PROBE, PROBED_LIBRARIES } from "../doctor/probe.ts";
import { outgoingOf } from "../http/in-flight.ts";
import { launcherFailure } from "../http/launcher-failure.ts";
import { CONSOLE, operatorBindings } from "../http/operator.ts";
import { ofPackage, StaticFiles } from "../http/static-files.ts";
import type { Access } from "./access.ts";
import { isOwnRequest } from "./access.ts";
import type { ConsoleDeps } from "./deps.ts";
import type { History } from "./history.ts";
import { type Html, layout, type Page, pathOf, type View } from "./layout.ts";
import { librariesOf } from "./libraries.ts";
import { Look, runOnce } from "./look.ts";
import { auditPage } from "./pages/audit.ts";
import { cellPage } from "./pages/cell.ts";
import { doctorPage, findings } from "./pages/doctor.ts";
import { filesPage } from "./pages/files.ts";
import { imagePage, libraries } from "./pages/image.ts";
import { historyColumns, overview, overviewPage } from "./pages/overview.ts";
import { ACTIONS, type Action, act, sessionKeyOf, sessions, sessionsPage } from "./pages/sessions.ts";
import { signInPage } from "./pages/sign-in.ts";
import { usagePage } from "./pages/usage.ts";
import { languageOf, TEXTS, type Text } from "./texts.ts";

const COOKIE = "kernelyard_console";
const LANGUAGE_COOKIE = "kernelyard_language";
const YEAR_S = 365 * 86_400;
const MAX_BODY_BYTES = 1024 * 1024;
/** The cell's session: one for this console, whoever is signed in. */
const CELL_SESSION = "console";

const FILES = new StaticFiles({
  "console.css": join(import.meta.dirname, "files/console.css"),
  "console.js": join(import.meta.dirname, "files/console.js"),
  "icon.svg": join(import.meta.dirname, "files/icon.svg"),
  "htmx.min.js": ofPackage("htmx.org/dist/htmx.min.js"),
  "uPlot.iife.min.js": ofPackage("uplot/dist/uPlot.iife.min.js"),
  "uPlot.min.css": ofPackage("uplot/dist/uPlot.min.css"),
});

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/** What code made is shown as a picture of this page, and is nothing when it is opened by itself. */
const FIGURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
const FIGURE_TYPE = /^image\/(png|jpeg|gif|webp|svg\+xml)$/;

const AUDITED: Readonly<Record<Action, AuditAction>> = {
  interrupt: "interrupt",
  restart: "restart",
  end: "forget",
};
const HOST = hostname();

interface Env {
  Variables: { view: View };
}
type ConsoleContext = Context<Env>;

export interface ConsoleOptions {
  readonly access: Access;
  readonly history: History;
  readonly deps: ConsoleDeps;
}

export function createConsoleApp({ access, history, deps }: ConsoleOptions): Hono<Env> {
  const app = new Hono<Env>();
  const { executor, health, settings } = deps;
  const doctor = new Look(async () => {
    const [{ launcher }, ran] = await Promise.all([
      health.report(),
      runOnce(executor, PROBE, ["confinement", ...PROBED_LIBRARIES]).catch(() => null),
    ]);
    return examine(launcher, ran?.stdout ?? null, settings.sessionDiskBytes);
  });
  const installed = new Look(() => librariesOf(executor));

  const page = async (c: ConsoleContext, name: Page, content: Html) =>
    c.html(await layout(c.get("view"), { page: name, content }));
  const say = (c: ConsoleContext, what: keyof Text, status: 200 | 403 | 404 | 500) =>
    c.text(c.get("view").text[what], status);

  app.onError((error, c) => {
    deps.log.error({ err: error }, "the console failed at a request");
    return say(c, "failed", 500);
  });
  app.notFound((c) => say(c, "notFound", 404));

  app.use(async (c, next) => {
    const chosen = languageOf(getCookie(c, LANGUAGE_COOKIE), c.req.header("accept-language"));
    const asked = c.req.query("lang");
    const language = languageOf(asked ?? chosen, undefined);
    c.set("view", { language, text: TEXTS[language] });
    c.header("Content-Security-Policy", POLICY);
    c.header("X-Content-Type-Options", "nosniff");
    // With none at all, browsers would not say of a form where it comes from.
    c.header("Referrer-Policy", "same-origin");
    c.header("Cross-Origin-Resource-Policy", "same-origin");
    c.header("Cross-Origin-Opener-Policy", "same-origin");
    await next();
    if (asked !== undefined) {
      setCookie(c, LANGUAGE_COOKIE, language, { path: "/", sameSite: "Strict", maxAge: YEAR_S });
    }
    if (!c.res.headers.has("Cache-Control")) c.header("Cache-Control", "no-store");
  });

  app.use(async (c, next) => {
    const looks = c.req.method === "GET" || c.req.method === "HEAD";
    if (!looks && !isOwnRequest((name) => c.req.header(name))) return say(c, "notFromHere", 403);
    return next();
  });

  app.get("/files/:name", async (c, next) => (await FILES.answer(c, c.req.param("name"))) ?? next());

  const signIn = async (
    c: ConsoleContext,
    problem: Parameters<typeof signInPage>[1],
    status: 200 | 401 | 429,
  ) =>
    c.html(await layout(c.get("view"), { page: null, content: signInPage(c.get("view"), problem) }), status);

  const limited = bodyLimit({ maxSize: MAX_BODY_BYTES });

  app.post("/sign-in", limited, async (c) => {
    const { key } = await c.req.parseBody();
    const result = await access.signIn(typeof key === "string" ? key : "", addressOf(c));
    if (result.kind === "too_many") {
      c.header("Retry-After", String(result.retryAfterSeconds));
      return signIn(c, "tooManyTries", 429);
    }
    if (result.kind === "wrong") {
      deps.log.warn("a wrong key was tried at the console");
      return signIn(c, "wrongKey", 401);
    }
    setCookie(c, COOKIE, result.token, { path: "/", httpOnly: true, sameSite: "Strict" });
    return c.redirect("/", 303);
  });

  // From here on for who is signed in.
  app.use(async (c, next) => {
    if (access.knows(getCookie(c, COOKIE))) return next();
    const looksAtPage = c.req.method === "GET" && c.req.header("hx-request") === undefined;
    if (looksAtPage && (c.req.header("accept") ?? "").includes("text/html")) return signIn(c, null, 401);
    return c.text(c.get("view").text.signInFirst, 401);
  });

  app.post("/sign-out", (c) => {
    access.signOut(getCookie(c, COOKIE));
    deleteCookie(c, COOKIE, { path: "/" });
    return c.redirect("/", 303);
  });

  const view = (c: ConsoleContext) => c.get("view");
  app.get("/", async (c) => page(c, "overview", await overviewPage(view(c), deps)));
  app.get("/parts/overview", async (c) => c.html(await overview(view(c), deps)));
  app.get("/history.json", (c) => c.json(historyColumns(history)));
  app.get("/sessions", async (c) => page(c, "sessions", await sessionsPage(view(c), deps)));
  app.get("/parts/sessions", async (c) => c.html(await sessions(view(c), deps)));
  app.get("/files", async (c) => page(c, "files", await filesPage(view(c), deps)));
  app.get("/usage", (c) => page(c, "usage", usagePage(view(c), deps, c.req.query("month") ?? "")));
  app.get("/image", async (c) => page(c, "image", await imagePage(view(c), deps)));
  app.get("/parts/libraries", async (c) => c.html(await libraries(view(c), await installed.take(false))));
  app.get("/doctor", (c) => page(c, "doctor", doctorPage(view(c))));
  app.get("/parts/findings", async (c) => c.html(await findings(view(c), await doctor.take(false))));
  app.post("/parts/findings", async (c) => c.html(await findings(view(c), await doctor.take(true))));
  app.get("/audit", async (c) =>
    page(c, "audit", await auditPage(view(c), deps, c.req.query("action") ?? "")),
  );
  app.get("/cell", (c) => page(c, "cell", cellPage(view(c), deps)));

  for (const action of ACTIONS) {
    app.post(`/sessions/${action}`, limited, async (c) => {
      const key = sessionKeyOf((await c.req.parseBody()).session);
      const session = key === null ? null : deps.sessions.find(key);
      const answer = await carriedOut(c, action, session, deps);
      if (c.req.header("hx-request") === undefined) return c.redirect(pathOf("sessions"), 303);
      // The list is shown anew at once.
      c.header("HX-Trigger", "refresh-now");
      return c.html(answer);
    });
  }

  app.post("/cell/run", limited, async (c) => {
    const form = await c.req.parseBody();
    const { code, keep, lang } = form;
    const body = {
      lang: typeof lang === "string" ? lang : "py",
      code: typeof code === "string" ? code : "",
      ...(keep === undefined ? {} : { runtime_session_hint: CELL_SESSION }),
    };
    const answer = await asOperator(c, deps, "/exec/stream", { method: "POST", body: JSON.stringify(body) });
    return c.newResponse(answer.body, answer);
  });

  app.get("/cell/figures/:session/:file", async (c) => {
    const { file, session } = c.req.param();
    const path = `/download/${encodeURIComponent(session)}/${encodeURIComponent(file)}`;
    const answer = await asOperator(c, deps, path, { method: "GET" });
    const type = answer.headers.get("content-type") ?? "";
    if (!answer.ok || !FIGURE_TYPE.test(type)) {
      await answer.body?.cancel();
      return say(c, "notFound", 404);
    }
    c.header("Content-Security-Policy", FIGURE_POLICY);
    c.header("Content-Type", type);
    return c.newResponse(answer.body);
  });

  return app;
}

/** The API's own answer to a request of the operator's. */
function asOperator(
  c: ConsoleContext,
  { api }: ConsoleDeps,
  path: string,
  init: { readonly method: string; readonly body?: string },
): Promise<Response> {
  const request = new Request(`http://console${path}`, {
    ...init,
    headers: { "content-type": "application/json" },
    signal: c.req.raw.signal,
  });
  return Promise.resolve(api.fetch(request, operatorBindings(outgoingOf(c))));
}

async function carriedOut(
  c: ConsoleContext,
  action: Action,
  session: ReturnType<ConsoleDeps["sessions"]["find"]>,
  deps: ConsoleDeps,
): Promise<string> {
  const { text } = c.get("view");
  if (session === null) return text.noSuchSession;
  const started = performance.now();
  const note = (status: number, error: string | null) =>
    deps.audit?.write({
      ...entryOf(session.key, AUDITED[action], deps),
      status,
      error,
      duration_ms: Math.round((performance.now() - started) * 100) / 100,
    });
  try {
    const done = await act(action, session, deps, c.req.raw.signal);
    note(200, null);
    return done ? text[`done_${action}`] : text.nothing;
  } catch (error) {
    const failure = launcherFailure(error);
    note(503, "launcher_unavailable");
    deps.log.warn({ err: error, action }, "an operator's action failed");
    // The service's own words; nothing in them is markup.
    return escaped(failure instanceof Error ? failure.message : text.failed);
  }
}

const escaped = (words: string): string =>
  words.replaceAll(/[&<>"']/g, (sign) => `&#${sign.codePointAt(0) ?? 0};`);

function entryOf(key: SessionKey, action: AuditAction, { image }: ConsoleDeps) {
  return {
    time: new Date().toISOString(),
    host: HOST,
    request: randomBytes(12).toString("base64url"),
    tenant: CONSOLE.tenant,
    subject: CONSOLE.subject,
    auth: "operator-key",
    action,
    session: key.kind === "named" ? `${key.tenant}/${key.name}` : key.digest,
    language: null,
    code_bytes: null,
    code_sha256: null,
    outcome: null,
    reason: null,
    image: image(),
    inputs: null,
    outputs: null,
  };
}

/** Of the other end; all who come through one tunnel are one. */
function addressOf(c: ConsoleContext): string {
  const address = outgoingOf(c)?.req.socket.remoteAddress ?? "unknown";
  return createHash("sha256").update(address).digest("base64url");
}
