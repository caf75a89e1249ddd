/** `POST /run`: code in a named session, the specification's own endpoint. */
import { z } from "@hono/zod-openapi";
import { SessionName } from "../../../common/protocol/launcher-api.ts";
import { exitCode, stderrWithNotes, waitRemark } from "../../execution/verdict.ts";
import { namedSessionKey } from "../../sessions/session-key.ts";
import { readJson } from "../body.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";
import { parseBody } from "../errors.ts";
import { notRunError } from "../not-run.ts";
import { errorResponse, RUN_ERRORS, SECURITY } from "../responses.ts";

export const RunRequest = z
  .object({
    session_id: SessionName.openapi({
      description: "Names the session: its kernel, and the volume at `/mnt/session_data`.",
      example: "analysis-1",
    }),
    code: z.string().openapi({ description: "Python.", example: "print(6 * 7)" }),
  })
  .openapi("RunRequest");

export const RunResponse = z
  .object({
    stdout: z.string(),
    stderr: z.string(),
    exit_code: z.number().int().openapi({
      description:
        "0; 1 after an exception; n after `sys.exit(n)`; 124 at the time limit; 137 out of memory; 128+n after signal n.",
    }),
  })
  .openapi("RunResponse");

export function runRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/run",
      summary: "Run Python in a session",
      description: "Variables and files stay from call to call. Calls of one session run one after another.",
      security: SECURITY,
      request: { body: { required: true, content: { "application/json": { schema: RunRequest } } } },
      responses: {
        200: {
          description: "The code ran, however it ended.",
          content: { "application/json": { schema: RunResponse } },
        },
        400: errorResponse("A field is missing or wrong."),
        ...RUN_ERRORS,
      },
    },
    access: "exec",
    uncounted: true,
    async handle(c: AppContext): Promise<Response> {
      const body = parseBody(RunRequest, await readJson(c));
      const principal = c.get("principal");
      const facts = c.get("facts");
      facts.code_bytes = body.code.length;
      const outcome = await deps.executor.execute({
        language: "py",
        code: body.code,
        args: [],
        timeoutMs: deps.settings.timeoutMs,
        binding: { kind: "session", key: namedSessionKey(principal, body.session_id) },
        inputs: [],
        outputs: null,
        signal: c.req.raw.signal,
      });
      facts.outcome = outcome.kind;
      if (outcome.kind !== "finished") throw notRunError(outcome);
      facts.reason = outcome.reason;
      facts.kernel = outcome.kernel.status;
      return c.json({
        stdout: outcome.stdout,
        stderr: stderrWithNotes(outcome, true, waitRemark(outcome)),
        exit_code: exitCode(outcome),
      } satisfies z.infer<typeof RunResponse>);
    },
  };
}
