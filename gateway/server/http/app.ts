/** The application: routes under `/v1` and `/`, authentication, limits, one error envelope, one log line per request. */
import { randomBytes } from "node:crypto";
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Next } from "hono";
import type { AuthRefusal } from "../auth/authenticator.ts";
import { BodyBudget, countBody } from "./body.ts";
import type { AppContext, AppDeps, AppEnv, Bucket, Route } from "./context.ts";
import { ServiceError } from "./errors.ts";
import { openApiDocument } from "./openapi.ts";
import { countRequest } from "./rate-limit.ts";
import { storeFailure } from "./refusals.ts";
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

function authenticated(deps: AppDeps, bucket: Bucket, counted: boolean) {
  return async (c: AppContext, next: Next) => {
    const decision = await deps.authentication.decide((name) => c.req.header(name));
    const facts = c.get("facts");
    if (decision.kind === "refused") {
      if (decision.refusal.why !== undefined) facts.why = decision.refusal.why;
      throw refusal(decision.refusal);
    }
    const { principal } = decision;
    c.set("principal", principal);
    facts.tenant = principal.tenant;
    facts.auth = principal.mode;
    if (counted) await countRequest(c, deps, bucket);
    await next();
  };
}

/** Bodies are held in memory only as far as the budget goes. Uploads stream and are not counted. */
function budgeted(budget: BodyBudget) {
  return async (c: AppContext, next: Next) => {
    const share = budget.share();
    try {
      countBody(c, share);
      await next();
    } finally {
      share.release();
    }
  };
}

function register(app: OpenAPIHono<AppEnv>, deps: AppDeps, budget: BodyBudget, route: Route): void {
  app.openAPIRegistry.registerPath(route.spec);
  const path = route.spec.path.replaceAll(/\{([^}]+)\}/g, ":$1");
  const method = route.spec.method.toUpperCase();
  if (route.access !== "open") {
    app.on(method, path, authenticated(deps, route.access, route.uncounted !== true));
  }
  if (method === "POST" && route.access === "exec") app.on(method, path, budgeted(budget));
  app.on(method, path, (c) => route.handle(c));
}

export function createApp(deps: AppDeps): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({ getPath: (request) => routePath(request.url) });

  app.use(async (c, next) => {
    const given = c.req.header("x-request-id");
    const requestId =
      given !== undefined && REQUEST_ID.test(given) ? given : randomBytes(12).toString("base64url");
    const started = performance.now();
    c.set("requestId", requestId);
    c.set("facts", {});
    c.header("X-Request-Id", requestId);
    c.header("X-Content-Type-Options", "nosniff");
    await next();
    // Probes come every few seconds.
    const level = c.req.path === "/health" ? "debug" : "info";
    deps.log[level](
      {
        req: requestId,
        method: c.req.method,
        path: c.req.path,
        status: c.res.status,
        ms: Math.round((performance.now() - started) * 100) / 100,
        ...c.get("facts"),
      },
      "request",
    );
  });

  app.onError((error, c) => {
    const known = error instanceof ServiceError ? error : storeFailure(error);
    if (known !== null) {
      const facts = c.get("facts");
      facts.error = known.code;
      return c.json(known.body(), known.status, known.headers());
    }
    // Names and stacks are ours; a message may quote a body.
    deps.log.error(
      { req: c.get("requestId"), err: { name: error.name, stack: error.stack } },
      "unexpected error",
    );
    const unexpected = new ServiceError("internal_error", "Unexpected error; the log has it by request id", {
      text: "Internal server error",
    });
    return c.json(unexpected.body(), unexpected.status);
  });

  app.notFound((c) =>
    c.json(new ServiceError("not_found", `There is no ${c.req.method} ${c.req.path}`).body(), 404),
  );

  const budget = new BodyBudget();
  for (const route of routes(deps)) register(app, deps, budget, route);
  const description = JSON.stringify(openApiDocument(app), null, 2);
  app.get("/openapi.json", (c) => c.body(description, 200, { "Content-Type": "application/json" }));
  return app;
}
