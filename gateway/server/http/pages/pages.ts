/** What a person finds who opens the service in a browser: where things are (`/`), and the API's description (`/api`). */
import { join } from "node:path";
import type { Hono } from "hono";
import { html } from "hono/html";
import type { Settings } from "../../../common/settings/read.ts";
import type { AppEnv } from "../context.ts";
import { ofPackage, StaticFiles } from "../static-files.ts";

const FILES = new StaticFiles({
  "page.css": join(import.meta.dirname, "files/page.css"),
  "api.js": join(import.meta.dirname, "files/api.js"),
  "swagger-ui.css": ofPackage("swagger-ui-dist/swagger-ui.css"),
  "swagger-ui-bundle.js": ofPackage("swagger-ui-dist/swagger-ui-bundle.js"),
});

/** The API page's pictures are `data:` URLs in its style sheet. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS = {
  "Content-Security-Policy": POLICY,
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
};

export interface PagesSettings {
  /** Null: there is no console. */
  readonly console: { readonly host: string; readonly port: number } | null;
}

export function pagesSettings({
  consoleHost,
  consolePort,
  operatorKey,
}: Pick<Settings, "consoleHost" | "consolePort" | "operatorKey">): PagesSettings {
  const off = consolePort === 0 || operatorKey === null;
  return { console: off ? null : { host: consoleHost, port: consolePort } };
}

/** Both paths are open, as `/openapi.json` is. */
export function addPages(app: Hono<AppEnv>, { console }: PagesSettings): void {
  app.get("/", async (c, next) => {
    if (!(c.req.header("accept") ?? "").includes("text/html")) return next();
    c.set("route", "/");
    return c.html(rootPage(console), 200, HEADERS);
  });
  app.get("/api", (c) => {
    c.set("route", "/api");
    return c.html(API_PAGE, 200, HEADERS);
  });
  app.get("/api/files/:name", async (c, next) => {
    c.set("route", "/api/files/{name}");
    return (await FILES.answer(c, c.req.param("name"))) ?? next();
  });
}

/** Paths are relative: `/` may be served as `/v1/`, and behind a proxy's prefix. */
const rootPage = (console: PagesSettings["console"]) => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kernelyard</title>
<link rel="stylesheet" href="api/files/page.css">
</head>
<body>
<main>
<h1>Kernelyard</h1>
<p>This is a code interpreter for LibreChat. It runs code in isolated live kernels.</p>
<dl>
<dt><a href="api">API</a></dt><dd>every request and reply; <a href="openapi.json">openapi.json</a> is the same for programs</dd>
<dt><a href="health">Health</a></dt><dd>whether code has just been executed here; with a key, <code>health?detail</code> says more</dd>
<dt>Console</dt><dd>${
  console === null
    ? "off; set KERNELYARD_OPERATOR_KEY to have one"
    : html`<code>http://${console.host}:${console.port}</code> as seen from the service's own machine`
}</dd>
<dt>LibreChat</dt><dd>set <code>LIBRECHAT_CODE_BASEURL</code> to this address followed by <code>/v1</code></dd>
<dt>Documentation</dt><dd>README.md and <code>docs/</code> of the project: settings, operations, runbooks</dd>
</dl>
</main>
</body>
</html>`;

const API_PAGE = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kernelyard API</title>
<link rel="stylesheet" href="api/files/swagger-ui.css">
<link rel="stylesheet" href="api/files/page.css">
</head>
<body>
<div id="api"></div>
<script src="api/files/swagger-ui-bundle.js"></script>
<script src="api/files/api.js"></script>
</body>
</html>`;
