/** `GET /health`: 200 `OK` when code has just been executed in a real sandbox, 503 otherwise. */
import { z } from "@hono/zod-openapi";
import type { AppContext, AppDeps, Route } from "../context.ts";

export const HealthDetail = z
  .object({
    status: z.enum(["ok", "unhealthy"]),
    problem: z.string().nullable(),
    /** `runc-unsafe` shares the host's kernel with the code. */
    isolation: z.enum(["runsc", "runc-unsafe"]).nullable(),
    warnings: z.array(z.string()),
    engine: z.object({ state: z.enum(["ok", "away", "unknown"]), version: z.string().nullable() }),
    runtime_version: z.string().nullable(),
    seccomp_sha256: z.string().nullable(),
    session_disk_quota: z.enum(["loop", "none"]).nullable(),
    images: z.array(z.object({ name: z.string(), image: z.string(), digest: z.string() })),
    languages: z.array(z.object({ id: z.string(), version: z.string() })),
    sandboxes: z.number().int().nullable(),
    capacity: z.number().int().nullable(),
    canary: z.object({ at: z.string(), duration_ms: z.number(), ok: z.boolean() }).nullable(),
  })
  .openapi("Health");

const UNSAFE = "Code shares the host's kernel (KERNELYARD_ISOLATION=runc-unsafe): run trusted code only";
const NO_QUOTA = "Session volumes have no hard size: loop devices are missing on this host";

export function healthRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/health",
      summary: "Has this service just executed code?",
      description: "`?detail` or `Accept: application/json` gives the parts. Needs no authentication.",
      request: { query: z.object({ detail: z.string().optional() }) },
      responses: {
        200: {
          description: "It has.",
          content: {
            "text/plain": { schema: z.string() },
            "application/json": { schema: HealthDetail },
          },
        },
        503: { description: "It could not.", content: { "text/plain": { schema: z.string() } } },
      },
    },
    access: "open",
    async handle(c: AppContext): Promise<Response> {
      const detailed =
        c.req.query("detail") !== undefined || (c.req.header("accept") ?? "").includes("application/json");
      c.header("Cache-Control", "no-store");
      if (!detailed) {
        return (await deps.health.healthy()) ? c.text("OK") : c.text("Service Unavailable", 503);
      }
      const { healthy, problem, lastCanary, launcher } = await deps.health.report();
      const warnings: string[] = [];
      if (launcher?.isolation === "runc-unsafe") warnings.push(UNSAFE);
      if (launcher?.session_disk_quota === "none") warnings.push(NO_QUOTA);
      const body: z.infer<typeof HealthDetail> = {
        status: healthy ? "ok" : "unhealthy",
        problem,
        isolation: launcher?.isolation ?? null,
        warnings,
        engine: {
          state: launcher?.engine.state ?? "unknown",
          version: launcher?.engine.state === "ok" ? launcher.engine.version : null,
        },
        runtime_version: launcher?.runtime_version ?? null,
        seccomp_sha256: launcher?.seccomp_sha256 ?? null,
        session_disk_quota: launcher?.session_disk_quota ?? null,
        images: [...(launcher?.profiles ?? [])],
        languages: [...deps.executor.languages()],
        sandboxes: launcher?.sandboxes ?? null,
        capacity: launcher?.capacity ?? null,
        canary:
          lastCanary === null
            ? null
            : { at: lastCanary.at, duration_ms: lastCanary.durationMs, ok: lastCanary.ok },
      };
      return c.json(body, healthy ? 200 : 503);
    },
  };
}
