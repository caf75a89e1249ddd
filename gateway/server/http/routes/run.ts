/** `POST /run`: code in a named session, the specification's own endpoint. */
import { z } from "@hono/zod-openapi";
import { callerOf } from "../../auth/principal.ts";
import type { CallRequest } from "../../execution/call.ts";
import { exitCode, stderrWithNotes, waitRemark } from "../../execution/verdict.ts";
import { namedSessionKey } from "../../sessions/session-key.ts";
import { audited } from "../audit.ts";
import { type AppContext, type AppDeps, callSignal, type Route } from "../context.ts";
import { inSession } from "../in-session.ts";
import { readBody } from "../intake/body.ts";
import { answerInTime } from "../keep-alive.ts";
import { notRunError } from "../not-run.ts";
import { RUN_BODY, type RunCall, RunRequest } from "../requests/run.ts";
import { errorResponse, RUN_ERRORS, SECURITY } from "../responses.ts";

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
    audit: "execute",
    uncounted: true,
    async handle(c: AppContext): Promise<Response> {
      const body = await readBody(c, deps, RUN_BODY);
      return inSession(c, deps, namedSessionKey(c.get("principal"), body.session_id), (mayRun) => {
        const running = Promise.withResolvers<void>();
        const answer = run(c, deps, body, { onRunning: running.resolve, mayRun });
        return answerInTime(c, deps, answer, running.promise);
      });
    },
  };
}

/** Throws `ServiceError`. */
async function run(
  c: AppContext,
  deps: AppDeps,
  body: RunCall,
  hooks: Pick<CallRequest, "mayRun" | "onRunning">,
): Promise<z.infer<typeof RunResponse>> {
  const principal = c.get("principal");
  const facts = c.get("facts");
  facts.lang = "py";
  facts.code_bytes = body.code.length;
  audited(c, { session: body.session_id, code: body.code });
  const outcome = await deps.executor.execute({
    language: "py",
    code: body.code,
    args: [],
    timeoutMs: deps.settings.timeoutMs,
    binding: {
      kind: "session",
      key: namedSessionKey(principal, body.session_id),
      caller: callerOf(principal),
    },
    inputs: [],
    outputs: null,
    ...hooks,
    signal: callSignal(c),
  });
  facts.outcome = outcome.kind;
  if (outcome.kind !== "finished") throw notRunError(outcome);
  facts.reason = outcome.reason;
  facts.kernel = outcome.kernel.status;
  return {
    stdout: outcome.stdout,
    stderr: stderrWithNotes(outcome, true, waitRemark(outcome)),
    exit_code: exitCode(outcome),
  };
}
