/** `GET /usage` and `GET /operator/usage`: what tenants have used, and what each caller may. */
import { z } from "@hono/zod-openapi";
import type { Settings } from "../../../common/settings/read.ts";
import { speaksForMany } from "../../auth/principal.ts";
import { SHARED_CALLER_FACTOR, WINDOWS } from "../../auth/rate-limits.ts";
import { SHARED_HOLDER_FACTOR } from "../../files/bounded.ts";
import { fileHolder } from "../../files/ownership.ts";
import { MonthCounts } from "../../usage/usage.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";
import { fromOtherHosts } from "../in-session.ts";
import { errorResponse, OPERATOR_SECURITY, SECURITY, UNAUTHORIZED } from "../responses.ts";

const Limits = z
  .object({
    stored_bytes: z
      .number()
      .openapi({ description: "Of all files that this caller has stored (`KERNELYARD_FILES_PER_USER`)." }),
    file_bytes: z.number().openapi({ description: "Of one file." }),
    output_files: z.number().int().openapi({ description: "That one call may leave." }),
    output_bytes: z.number().openapi({ description: "Of these together." }),
    session_bytes: z.number().openapi({ description: "Of a session's directory." }),
    call_seconds: z.number().openapi({ description: "That one call's code may run." }),
    requests: z
      .array(z.object({ kind: z.string(), points: z.number().int(), seconds: z.number().int() }))
      .nullable()
      .openapi({ description: "At most so many of a kind in so many seconds; null: no such limits." }),
  })
  .openapi("Limits");

export const OwnUsage = z
  .object({
    tenant: z.string(),
    months: z.array(MonthCounts).nullable().openapi({
      description:
        "Of the whole tenant, newest first, thirteen at most; null for a token, which speaks for one user and of whom nothing is counted.",
    }),
    stored: z
      .object({ files: z.number().int(), bytes: z.number() })
      .openapi({ description: "What this caller has stored now." }),
    limits: Limits,
  })
  .openapi("Usage");

export const TenantUsage = z
  .object({
    tenants: z.array(z.object({ tenant: z.string(), months: z.array(MonthCounts) })),
    limits: z.object({ user: Limits, key: Limits }),
  })
  .openapi("UsageOfTenants");

/** `shared`: of a key or a private network, which speak for many users. */
export function limitsOf(settings: Settings, shared: boolean): z.infer<typeof Limits> {
  return {
    stored_bytes: settings.filesPerUserBytes * (shared ? SHARED_HOLDER_FACTOR : 1),
    file_bytes: settings.fileMaxBytes,
    output_files: settings.outputFilesMax,
    output_bytes: settings.outputTotalBytes,
    session_bytes: settings.sessionDiskBytes,
    call_seconds: settings.timeoutMaxMs / 1000,
    requests:
      settings.rateLimits === "off"
        ? null
        : Object.entries(WINDOWS).map(([kind, { points, seconds }]) => ({
            kind,
            points: points * (shared ? SHARED_CALLER_FACTOR : 1),
            seconds,
          })),
  };
}

/** Of several hosts: each has counted what it ran. */
function together(all: readonly (readonly MonthCounts[])[]): MonthCounts[] {
  const months = new Map<string, MonthCounts>();
  for (const counts of all.flat()) {
    const before = months.get(counts.month);
    months.set(
      counts.month,
      before === undefined
        ? counts
        : {
            month: counts.month,
            calls: before.calls + counts.calls,
            seconds: before.seconds + counts.seconds,
            stored_bytes: before.stored_bytes + counts.stored_bytes,
            sent_bytes: before.sent_bytes + counts.sent_bytes,
          },
    );
  }
  return [...months.values()].sort((one, other) => other.month.localeCompare(one.month));
}

export function usageRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/usage",
      summary: "What one has used, and may use",
      description: "Counts alone: nothing says what ran or what a file was.",
      security: SECURITY,
      responses: {
        200: { description: "As of now.", content: { "application/json": { schema: OwnUsage } } },
        401: UNAUTHORIZED,
        429: errorResponse("`rate_limited`."),
      },
    },
    access: "files",
    async handle(c: AppContext): Promise<Response> {
      const principal = c.get("principal");
      const shared = speaksForMany(principal);
      const there = shared
        ? (await fromOtherHosts(c, deps)).map((said) => OwnUsage.safeParse(said).data?.months ?? [])
        : [];
      return c.json({
        tenant: principal.tenant,
        months: shared ? together([deps.usage.of(principal.tenant), ...there]) : null,
        stored: await deps.files.usage(fileHolder(principal).key),
        limits: limitsOf(deps.settings, shared),
      } satisfies z.infer<typeof OwnUsage>);
    },
  };
}

export function tenantUsageRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/operator/usage",
      summary: "What each tenant has used",
      description:
        "Of this host; of several, each is asked for itself. Beyond a thousand tenants further ones count together as `-others`.",
      security: OPERATOR_SECURITY,
      responses: {
        200: { description: "As of now.", content: { "application/json": { schema: TenantUsage } } },
        401: UNAUTHORIZED,
      },
    },
    access: "operator",
    handle(c: AppContext): Response {
      return c.json({
        tenants: deps.usage.tenants(),
        limits: { user: limitsOf(deps.settings, false), key: limitsOf(deps.settings, true) },
      } satisfies z.infer<typeof TenantUsage>);
    },
  };
}
