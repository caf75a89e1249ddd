/** The application: routes under `/v1` and `/`, authentication, limits, one error envelope, one log line per request. */
import { randomUUID } from "node:crypto";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Next } from "hono";
import type { AuditSink } from "../audit/log.ts";
import type { AuthRefusal } from "../auth/authenticator.ts";
import { OPERATOR, OPERATOR_HEADER } from "../auth/operator.ts";
import { principalKey, speaksForMany } from "../auth/principal.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { HOP_HEADER } from "../fleet/hop/token.ts";
import { CALL } from "../log.ts";
import { auditEntry } from "./audit.ts";
import type { AppContext, AppDeps, AppEnv, Bucket, Route } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { beingErased, isErased, serviceErrorOf } from "./failure.ts";
import { cameFromAHost } from "./hop-server.ts";
import { holdMore, holdRequest, STREAM_BYTES } from "./intake/memory.ts";
import { NOT_RUN_HEADER } from "./not-run.ts";
import { openApiDocument } from "./openapi.ts";
import { CONSOLE, isOperators } from "./operator.ts";
import { addPages, pagesSettings } from "./pages/pages.ts";
import { countRequest } from "./rate-limit.ts";
import { responseHeader } from "./response-header.ts";
import { routes } from "./routes.ts";

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** `https://host//v1//exec?x` → `/exec`: older clients join with two slashes, newer ones leave `/v1` to the base. */
export function routePath(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  const path = url.slice(start, query < 0 ? undefined : query).replaceAll(/\/{2,}/g, "/");
  if (path === "/v1") return "/";
  return path.startsWith("/v1/") ? path.slice(3) : path;
}

function refusal({ status, message }: AuthRefusal): ServiceError {
  const code = (
    {
      400: "ambiguous_authentication",
      401: "unauthorized",
      403: "forbidden",
      503: "authentication_unavailable",
    } as const
  )[status];
  return new ServiceError(code, message, {
    text: message,
    headers: status === 401 ? { "WWW-Authenticate": "Bearer" } : {},
  });
}

function authenticated(deps: AppDeps, begin: (c: AppContext) => void) {
  return async (c: AppContext, next: Next) => {
    begin(c);
    const decision = isOperators(c.env)
      ? ({ kind: "accepted", principal: CONSOLE } as const)
      : await deps.authentication.decide((name) => c.req.header(name));
    const facts = c.get("facts");
    if (decision.kind === "refused") {
      if (decision.refusal.why !== undefined) facts.why = decision.refusal.why;
      throw refusal(decision.refusal);
    }
    const { principal } = decision;
    c.set("principal", principal);
    facts.tenant = principal.tenant;
    facts.auth = principal.mode;
    await next();
  };
}

/** The operator's key, and no other. */
function operated(deps: AppDeps, begin: (c: AppContext) => void) {
  return async (c: AppContext, next: Next) => {
    begin(c);
    if (deps.operatorKey === null) {
      throw new ServiceError("not_found", "This service has no operator: set KERNELYARD_OPERATOR_KEY");
    }
    if (!deps.operatorKey.accepts(c.req.header(OPERATOR_HEADER))) {
      throw new ServiceError("unauthorized", `The operator's key is required in ${OPERATOR_HEADER}`);
    }
    if (deps.inFlight.stopping) throw stopping();
    c.set("principal", OPERATOR);
    const facts = c.get("facts");
    facts.tenant = OPERATOR.tenant;
    facts.auth = "operator";
    holdRequest(c, deps.memory);
    const { hold } = c.get("memory");
    void c.get("ended").then(() => hold.release());
    await next();
  };
}

/** What a request may cost, settled before a byte of its body is read. */
function admitted(deps: AppDeps, bucket: Bucket, { continues, streams, uncounted }: Route) {
  return async (c: AppContext, next: Next) => {
    if (deps.inFlight.stopping && continues !== true) throw stopping();
    const principal = c.get("principal");
    deps.inFlight.admit(principalKey(principal), speaksForMany(principal), c.get("ended"));
    await countRequest(c, deps, "request");
    if (uncounted !== true) await countRequest(c, deps, bucket);
    if (!deps.erasure.enter(principal, c.get("ended"), c.get("gone"))) throw beingErased();
    holdRequest(c, deps.memory);
    const { hold } = c.get("memory");
    void c.get("ended").then(() => hold.release());
    if (streams === true) holdMore(c, STREAM_BYTES);
    await next();
    // What it came to is gone in a moment.
    if (isErased(c)) throw beingErased();
  };
}

const stopping = () =>
  new ServiceError("shutting_down", "The service is shutting down", {
    text: "Service is shutting down",
    headers: { Connection: "close", [NOT_RUN_HEADER]: "shutting-down" },
  });

/** A call that another host has forwarded; whoever else comes in there is refused before anything else. */
function signed(fleet: Fleet) {
  return async (c: AppContext, next: Next) => {
    if (cameFromAHost(c.env)) {
      const verdict = fleet.verify(c.req.header(HOP_HEADER));
      if (verdict.kind === "refused") {
        throw new ServiceError("unauthorized", `Not taken from a host: ${verdict.why}`, {
          headers: { [NOT_RUN_HEADER]: "not-signed" },
        });
      }
      c.set("hop", verdict.hop);
      c.get("facts").forwarded_by = verdict.from;
    }
    await next();
  };
}

function register(app: OpenAPIHono<AppEnv>, deps: AppDeps, route: Route): void {
  app.openAPIRegistry.registerPath(route.spec);
  const path = route.spec.path.replaceAll(/\{([^}]+)\}/g, ":$1");
  const method = route.spec.method.toUpperCase();
  const begin = (c: AppContext) => {
    c.set("route", route.spec.path);
    c.set("action", route.audit ?? null);
  };
  if (route.access === "open") {
    app.on(method, path, (c) => {
      begin(c);
      return route.handle(c);
    });
    return;
  }
  if (route.access === "operator") {
    app.on(method, path, operated(deps, begin), (c) => route.handle(c));
    return;
  }
  app.on(method, path, authenticated(deps, begin), admitted(deps, route.access, route), (c) =>
    route.handle(c),
  );
}

function logRequest(c: AppContext, { log }: AppDeps, started: number): void {
  // Probes come every few seconds.
  const level = c.req.path === "/health" ? "debug" : "info";
  log[level](
    {
      req: c.get("requestId"),
      method: c.req.method,
      path: c.req.path,
      status: c.get("brokenOff") ?? c.res.status,
      ms: Math.round((performance.now() - started) * 100) / 100,
      ...c.get("facts"),
    },
    CALL,
  );
}

function auditAnswer(
  c: AppContext,
  { image }: AppDeps,
  audit: AuditSink,
  { startedAt, started, ended }: { startedAt: number; started: number; ended: Promise<void> },
): void {
  if (c.get("action") === null) return;
  const told = c.res.status;
  // What came of a call is known when its content is there, and that may be later than a caller who hung up.
  void Promise.all([ended, c.get("answered")]).then(() => {
    const status = c.get("brokenOff") ?? told;
    const entry = auditEntry(c, { status, startedAt, ms: performance.now() - started, image: image() });
    if (entry !== null) audit.write(entry);
  });
}

function countAnswer(
  c: AppContext,
  onAnswered: NonNullable<AppDeps["onAnswered"]>,
  started: number,
  ended: Promise<void>,
): void {
  const { method } = c.req;
  const route = c.get("route");
  const told = c.res.status;
  void ended.then(() => {
    const status = c.get("brokenOff") ?? told;
    onAnswered({ method, route, status, ms: performance.now() - started });
  });
}

export function createApp(deps: AppDeps): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({ getPath: (request) => routePath(request.url) });

  const { tracing } = deps;
  if (tracing !== null) app.use(tracing.middleware);

  app.use(async (c, next) => {
    const given = c.req.header("x-request-id");
    const requestId = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
    const startedAt = Date.now();
    const started = performance.now();
    c.set("requestId", requestId);
    const traceparent = tracing?.traceparent() ?? null;
    c.set("facts", traceparent === null ? {} : { traceparent });
    const handled = Promise.withResolvers<void>();
    c.set("route", null);
    c.set("action", null);
    const gone = new AbortController();
    const ended = deps.inFlight.begin(c, handled.promise, gone);
    c.set("gone", gone);
    c.set("ended", ended);
    responseHeader(c, "X-Request-Id", requestId);
    responseHeader(c, "X-Content-Type-Options", "nosniff");
    await next();
    handled.resolve();
    if (deps.audit !== null) auditAnswer(c, deps, deps.audit, { startedAt, started, ended });
    if (deps.onAnswered !== null) countAnswer(c, deps.onAnswered, started, ended);
    if (deps.inFlight.stopping) responseHeader(c, "Connection", "close");
    // When the answer is out: nobody waits for the log.
    void Promise.all([ended, c.get("answered")]).then(() => logRequest(c, deps, started));
  });

  if (deps.fleet !== null) app.use(signed(deps.fleet));

  app.onError((error, c) => {
    const failure = serviceErrorOf(error, c, deps);
    return c.json(failure.body(), failure.status, failure.headers());
  });

  app.notFound((c) =>
    c.json(new ServiceError("not_found", `There is no ${c.req.method} ${c.req.path}`).body(), 404),
  );

  for (const route of routes(deps)) register(app, deps, route);
  const description = JSON.stringify(openApiDocument(app), null, 2);
  app.get("/openapi.json", (c) => c.body(description, 200, { "Content-Type": "application/json" }));
  addPages(app, pagesSettings(deps.settings));
  return app;
}
