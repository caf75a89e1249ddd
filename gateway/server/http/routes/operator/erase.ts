/** `POST /operator/erase`: everything of one user, or of one tenant, and a report of what went, what stays and why. */
import { z } from "@hono/zod-openapi";
import { ErasureUnfinished, subjectDigest } from "../../../erasure/erasure.ts";
import { audited } from "../../audit.ts";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { ServiceError } from "../../errors.ts";
import { readBody } from "../../intake/body.ts";
import { launcherFailure } from "../../launcher-failure.ts";
import { ERASE_BODY, EraseRequest } from "../../requests/erase.ts";
import { errorResponse, OPERATOR_SECURITY, UNAUTHORIZED, UNAVAILABLE } from "../../responses.ts";

export const Erased = z
  .object({
    ended: z.object({ calls: z.number().int() }),
    removed: z.object({
      sessions: z.number().int(),
      files: z.number().int(),
      file_bytes: z.number(),
      links: z.number().int(),
      audit_entries: z.number().int(),
      audit_bucket_entries: z.number().int().openapi({
        description: "In objects of the audit log's bucket whose file is not on this host.",
      }),
      usage_months: z.number().int(),
    }),
    kept: z.array(z.object({ what: z.string(), count: z.number().int().nullable(), why: z.string() })),
  })
  .openapi("Erased");

export function eraseRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/operator/erase",
      summary: "Erase a user or a tenant",
      description:
        "Calls of theirs that run end and hear `being_erased`, as do those that come meanwhile; then sessions (awake, asleep, their files), programs that wait for tools, stored files and counts go. Of several hosts each is asked for itself.",
      security: OPERATOR_SECURITY,
      request: { body: { required: true, content: { "application/json": { schema: EraseRequest } } } },
      responses: {
        200: { description: "Done.", content: { "application/json": { schema: Erased } } },
        400: errorResponse("A field is missing or wrong."),
        401: UNAUTHORIZED,
        409: errorResponse("`conflict`: their calls did not end; ask again."),
        503: UNAVAILABLE,
      },
    },
    access: "operator",
    audit: "erase",
    async handle(c: AppContext): Promise<Response> {
      const { shared_files, tenant, user = null } = await readBody(c, deps, ERASE_BODY);
      const subject = { tenant, user };
      audited(c, { session: subjectDigest(subject) });
      const report = await deps.erasure.erase(subject, shared_files).catch((error: unknown) => {
        if (error instanceof ErasureUnfinished) throw new ServiceError("conflict", error.message);
        throw launcherFailure(error);
      });
      const { auditErased } = deps.settings;
      const entries = report.audit?.entries ?? 0;
      const copy = report.audit?.copy ?? null;
      const copied = copy?.entries ?? 0;
      const kept: z.infer<typeof Erased>["kept"] = [];
      const keep = (what: string, count: number | null, why: string) => {
        if (count !== 0) kept.push({ what, count, why });
      };
      if (auditErased === "anonymous") {
        keep(
          "audit entries",
          entries,
          "without subject, session, files and digest (KERNELYARD_AUDIT_ERASED)",
        );
        keep(
          "audit entries in the bucket alone",
          copied,
          "likewise; their files are not on this host (any more)",
        );
      }
      if (copy !== null) {
        const { late, problem, unread, versioned } = copy;
        keep(
          "objects of the audit log's bucket, not rewritten yet",
          late,
          `the bucket did not take them (${problem ?? "see the gateway's log"}); they are put as soon as it does`,
        );
        keep(
          "objects of the audit log's bucket, not looked through",
          unread,
          `they may have entries of theirs (${problem ?? "it took too long"}); ask again, and it goes on`,
        );
        keep(
          "earlier versions of objects of the audit log's bucket",
          versioned ? null : 0,
          "the bucket keeps versions; its lifecycle rules remove them, or nobody does",
        );
      }
      keep(
        "files of agents and skills",
        report.files.kept,
        "they are the tenant's; on nobody's account now (shared_files removes them)",
      );
      keep(
        "sessions of unknown users",
        report.unknownSessions,
        "last used before it was noted whose they are; they go KERNELYARD_SESSION_VOLUME_TTL_MS after that",
      );
      keep(
        "log lines",
        null,
        "they name tenants and sessions, no users and no content; they go with the logs",
      );
      return c.json({
        ended: { calls: report.calls },
        removed: {
          sessions: report.sessions,
          files: report.files.files,
          file_bytes: report.files.bytes,
          links: report.files.links,
          audit_entries: auditErased === "remove" ? entries : 0,
          audit_bucket_entries: auditErased === "remove" ? copied : 0,
          usage_months: report.usageMonths,
        },
        kept,
      } satisfies z.infer<typeof Erased>);
    },
  };
}
