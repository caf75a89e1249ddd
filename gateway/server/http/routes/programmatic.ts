/**
 * `POST /exec/programmatic`: code that calls the client's tools. The program stays blocked in its kernel between the
 * requests: the first starts it, each continuation brings results, and every reply says what it does next.
 */
import { z } from "@hono/zod-openapi";
import { newId } from "../../../common/ids.ts";
import { callerOf, principalKey } from "../../auth/principal.ts";
import { prepareExecFiles } from "../../execution/files/call-files.ts";
import { ReplyFiles } from "../../execution/files/lineage.ts";
import { type ProgramAnswer, type ProgramRequest, REUSED } from "../../execution/programs/programs.ts";
import { type ProgramReply, runProgram } from "../../execution/programs/run-program.ts";
import { decodeToken } from "../../execution/programs/token.ts";
import { audited } from "../audit.ts";
import { type AppContext, type AppDeps, callSignal, type Route } from "../context.ts";
import { ServiceError } from "../errors.ts";
import { atHost, whereThereIsRoom } from "../in-session.ts";
import { readBody } from "../intake/body.ts";
import { notRunError } from "../not-run.ts";
import { applyProfile } from "../profile.ts";
import { countRequest } from "../rate-limit.ts";
import { refusalError } from "../refusals.ts";
import { RequestId } from "../requests/cancel.ts";
import {
  PROGRAMMATIC_BODY,
  type ProgrammaticCall,
  ProgrammaticContinuation,
  ProgrammaticStart,
} from "../requests/programmatic.ts";
import { errorResponse, SECURITY, UNAUTHORIZED, UNAVAILABLE } from "../responses.ts";

/** Key for cancelling; the client makes a new one for each request. */
const REQUEST_ID_HEADER = "X-LibreChat-Code-Request-ID";
/** They select a machine of the user's own, which this service does not bridge to. */
const WORKSPACE_HEADERS = ["X-LibreChat-Code-Worker-ID", "X-LibreChat-Code-Workspace-ID"];
const RETRY_LATER = "Too many programs wait for their tools; try again later";

const Output = ReplyFiles.extend({ session_id: z.string(), stdout: z.string(), stderr: z.string() });

export const ProgrammaticResponse = z
  .discriminatedUnion("status", [
    z.object({
      status: z.literal("tool_call_required"),
      continuation_token: z.string().openapi({ description: "Good for ten minutes, for the same caller." }),
      tool_calls: z.array(z.object({ id: z.string(), name: z.string(), input: z.unknown() })),
      session_id: z.string(),
      partial_stdout: z.string(),
      partial_stderr: z.string(),
    }),
    Output.extend({ status: z.literal("completed") }),
    Output.extend({ status: z.literal("error"), error: z.string() }),
  ])
  .openapi("ProgrammaticResponse");
type ProgrammaticResponse = z.infer<typeof ProgrammaticResponse>;

const bad = (text: string) => new ServiceError("bad_request", text, { text });

function requestOf(c: AppContext): ProgramRequest {
  const header = c.req.header(REQUEST_ID_HEADER);
  if (header !== undefined && !RequestId.safeParse(header).success) {
    throw bad(`${REQUEST_ID_HEADER} must be 1 to 128 characters of A-Z a-z 0-9 . _ : -`);
  }
  return { principal: c.get("principal"), signal: callSignal(c), requestId: header ?? null };
}

/** Of several hosts none takes a request id a second time. Throws `ServiceError`. */
async function claimRequest(c: AppContext, { fleet }: AppDeps): Promise<void> {
  const { principal, requestId } = requestOf(c);
  if (fleet === null || requestId === null) return;
  if (!(await fleet.claimRequest(principalKey(principal), requestId))) throw refusedError(REUSED);
}

async function begin(
  c: AppContext,
  deps: AppDeps,
  start: Extract<ProgrammaticCall, { kind: "start" }>,
): Promise<ProgramAnswer<ProgramReply>> {
  const request = requestOf(c);
  const { code, language, toolNames } = start;
  const { settings } = deps;
  const facts = c.get("facts");
  facts.lang = language;
  facts.code_bytes = code.length;
  audited(c, { code, inputs: start.files.map(({ id }) => id) });
  facts.tools = toolNames.length;
  const sessionId = newId();
  facts.session = sessionId;
  const prepared = await prepareExecFiles(deps.files, {
    principal: request.principal,
    sessionId,
    refs: start.files,
    limits: settings,
  });
  if (!prepared.ok) throw refusalError(prepared);
  const timeoutMs = Math.min(start.timeoutMs ?? settings.timeoutMs, settings.timeoutMaxMs);
  const { files } = prepared;
  const call = { caller: callerOf(request.principal), language, code, timeoutMs, toolNames, files };
  return deps.programs.start(request, {
    sessionId,
    toolNames: new Set(toolNames),
    run: (hooks) => runProgram(deps.executor, call, hooks),
  });
}

function proceed(
  c: AppContext,
  deps: AppDeps,
  { token, results }: Extract<ProgrammaticCall, { kind: "continuation" }>,
): Promise<ProgramAnswer<ProgramReply>> {
  c.get("facts").tool_results = results.length;
  audited(c, { action: "continue" });
  return deps.programs.continue(requestOf(c), token, results);
}

const REFUSALS = { 400: "bad_request", 403: "forbidden", 404: "not_found", 409: "conflict" } as const;

function refusedError({
  error,
  status,
}: Extract<ProgramAnswer<ProgramReply>, { kind: "refused" }>): ServiceError {
  return new ServiceError(REFUSALS[status], error, { text: error });
}

function response(answer: ProgramAnswer<ProgramReply>): ProgrammaticResponse {
  if (answer.kind === "refused") throw refusedError(answer);
  if (answer.kind === "full") {
    throw new ServiceError("rate_limited", RETRY_LATER, { retryAfterSeconds: answer.retryAfterSeconds });
  }
  const { round, token, sessionId } = answer;
  if (round.kind === "tool_calls") {
    return {
      status: "tool_call_required",
      continuation_token: token,
      tool_calls: [...round.calls],
      session_id: sessionId,
      partial_stdout: round.stdout,
      partial_stderr: round.stderr,
    };
  }
  const { reply } = round;
  if (reply.kind === "not_run") throw notRunError(reply.outcome);
  const output = { session_id: sessionId, stdout: reply.stdout, stderr: reply.stderr, ...reply.files };
  return reply.kind === "completed"
    ? { status: "completed", ...output }
    : { status: "error", error: reply.error, ...output };
}

export function programmaticRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/exec/programmatic",
      summary: "Execute code that calls the client's tools",
      description:
        "The first request starts the program. While `status` is `tool_call_required` it waits in its sandbox; a continuation brings the results. A caller who hangs up before the reply ends it.",
      security: SECURITY,
      request: {
        body: {
          required: true,
          content: { "application/json": { schema: z.union([ProgrammaticStart, ProgrammaticContinuation]) } },
        },
      },
      responses: {
        200: {
          description: "The program ended, or waits for tools.",
          content: { "application/json": { schema: ProgrammaticResponse } },
        },
        400: errorResponse("A field is missing or wrong; a result was not asked for."),
        401: UNAUTHORIZED,
        403: errorResponse("Somebody else's program or file."),
        404: errorResponse("`Execution not found or expired`."),
        409: errorResponse(
          "Another continuation is in flight, a result differs from an earlier one, a request id is used twice, or `unsupported_capability`.",
        ),
        413: errorResponse("Code, tools and file references exceed 10 MB, or the body 16 MiB."),
        429: errorResponse("`rate_limited`: too many requests or waiting programs, or the host is full."),
        503: UNAVAILABLE,
      },
    },
    access: "exec",
    audit: "execute",
    // Rounds of one program are one execution.
    uncounted: true,
    continues: true,
    async handle(c: AppContext): Promise<Response> {
      if (WORKSPACE_HEADERS.some((name) => c.req.header(name) !== undefined)) {
        throw new ServiceError(
          "unsupported_capability",
          "Attached workspaces are not supported: this service runs code in its own sandboxes",
        );
      }
      applyProfile(c, "default");
      const call = await readBody(c, deps, PROGRAMMATIC_BODY);
      if (call.kind === "start") await countRequest(c, deps, "exec");
      const elsewhere =
        call.kind === "start"
          ? await whereThereIsRoom(c, deps)
          : await atHost(c, deps, decodeToken(call.token)?.host ?? null);
      if (elsewhere !== null) return elsewhere;
      await claimRequest(c, deps);
      const reply = response(await (call.kind === "start" ? begin(c, deps, call) : proceed(c, deps, call)));
      c.get("facts").outcome = reply.status;
      if ("files" in reply) audited(c, { outputs: reply.files.map(({ id }) => id) });
      return c.json(reply);
    },
  };
}
