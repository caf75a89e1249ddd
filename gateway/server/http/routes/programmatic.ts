/**
 * `POST /exec/programmatic`: code that calls the client's tools. The program stays blocked in its kernel between the
 * requests: the first starts it, each continuation brings results, and every reply says what it does next.
 */
import { z } from "@hono/zod-openapi";
import { newId } from "../../../common/ids.ts";
import { prepareExecFiles } from "../../execution/files/call-files.ts";
import { FileRef, MAX_FILE_REFS, ReplyFiles } from "../../execution/files/lineage.ts";
import { MAX_REQUEST_BYTES, MAX_TOOLS } from "../../execution/programs/limits.ts";
import type { ProgramAnswer, ProgramRequest } from "../../execution/programs/programs.ts";
import { type ProgramReply, runProgram } from "../../execution/programs/run-program.ts";
import { findBashCollision } from "../../execution/programs/tool-names.ts";
import { checkToolResults } from "../../execution/programs/tool-results.ts";
import { readJson } from "../body.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";
import { parseBody, ServiceError } from "../errors.ts";
import { notRunError } from "../not-run.ts";
import { applyProfile } from "../profile.ts";
import { countRequest } from "../rate-limit.ts";
import { refusalError } from "../refusals.ts";
import { errorResponse, SECURITY, UNAUTHORIZED, UNAVAILABLE } from "../responses.ts";

/** Key for cancelling; the client makes a new one for each request. */
const REQUEST_ID_HEADER = "X-LibreChat-Code-Request-ID";
export const RequestId = z.string().regex(/^[A-Za-z0-9._:-]{1,128}$/);
/** They select a machine of the user's own, which this service does not bridge to. */
const WORKSPACE_HEADERS = ["X-LibreChat-Code-Worker-ID", "X-LibreChat-Code-Workspace-ID"];
/** The reference's own file in its sandbox. */
const RESERVED_FILE = "_ptc_history.json";
/** Names travel in one frame's header, with those of all files. */
const MAX_TOOL_NAMES_BYTES = 24 * 1024;
const RETRY_LATER = "Too many programs wait for their tools; try again later";

const Tool = z.object({
  name: z.string().min(1).max(256),
  description: z.string().nullish(),
  parameters: z.unknown().optional(),
});

export const ProgrammaticStart = z
  .object({
    code: z.string(),
    lang: z.string().nullish().openapi({ description: "`bash`; Python otherwise." }),
    language: z.string().nullish(),
    tools: z.array(Tool),
    timeout: z.number().positive().nullish().openapi({
      description: "Milliseconds of the program's own time; waiting for tools does not count.",
    }),
    files: z.array(FileRef).max(MAX_FILE_REFS).nullish(),
    session_id: z.unknown().optional(),
    runtime_session_hint: z.unknown().optional(),
  })
  .openapi("ProgrammaticStart");

export const ProgrammaticContinuation = z
  .object({
    continuation_token: z.string(),
    tool_results: z.array(
      z.object({
        call_id: z.string(),
        result: z.unknown(),
        is_error: z.boolean().optional(),
        error_message: z.string().optional(),
      }),
    ),
  })
  .openapi("ProgrammaticContinuation");

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

type Start = z.output<typeof ProgrammaticStart>;

function languageOf({ language, lang }: { language?: unknown; lang?: unknown }): "py" | "bash" {
  const name = language ?? lang ?? "python";
  if (name === "bash") return "bash";
  if (name === "python" || name === "py") return "py";
  throw bad(`Unsupported language "${String(name).slice(0, 32)}"; supported values are "python" and "bash"`);
}

/** The reference's order and words; the client shows neither, people do read them. */
function parseStart(raw: Readonly<Record<string, unknown>>): { start: Start; language: "py" | "bash" } {
  const language = languageOf(raw);
  if (raw.code === undefined || raw.code === null || raw.code === "") {
    throw bad("Missing required field: code");
  }
  const { tools } = raw;
  if (!Array.isArray(tools) || tools.length === 0) {
    throw bad("Missing required field: tools (must be a non-empty array)");
  }
  if (tools.length > MAX_TOOLS) {
    throw bad(`Too many tools provided (${tools.length}). Maximum is ${MAX_TOOLS}.`);
  }
  const bytes = Buffer.byteLength(JSON.stringify([raw.code, tools, raw.files ?? null]));
  if (bytes > MAX_REQUEST_BYTES) {
    const text = `Request too large: ${bytes} bytes (max ${MAX_REQUEST_BYTES}). Reduce the size of "code", "tools", or "files".`;
    throw new ServiceError("payload_too_large", text, { text });
  }
  const start = parseBody(ProgrammaticStart, raw);
  if (Buffer.byteLength(JSON.stringify(start.tools.map(({ name }) => name))) > MAX_TOOL_NAMES_BYTES) {
    throw bad(`The names of all tools together exceed ${MAX_TOOL_NAMES_BYTES} bytes`);
  }
  const reserved = (start.files ?? []).find(({ name }) => name.replace(/^(\.?\/)+/, "") === RESERVED_FILE);
  if (reserved !== undefined) throw bad(`files[].name "${RESERVED_FILE}" is reserved and cannot be supplied`);
  const collision = language === "bash" ? findBashCollision(start.tools) : null;
  if (collision !== null) {
    throw bad(
      `Bash tool names "${collision.first}" and "${collision.second}" normalize to the same function identifier "${collision.identifier}"; rename one to avoid collision`,
    );
  }
  return { start, language };
}

function requestOf(c: AppContext): ProgramRequest {
  const header = c.req.header(REQUEST_ID_HEADER);
  if (header !== undefined && !RequestId.safeParse(header).success) {
    throw bad(`${REQUEST_ID_HEADER} must be 1 to 128 characters of A-Z a-z 0-9 . _ : -`);
  }
  return { principal: c.get("principal"), signal: c.req.raw.signal, requestId: header ?? null };
}

async function begin(
  c: AppContext,
  deps: AppDeps,
  raw: Readonly<Record<string, unknown>>,
): Promise<ProgramAnswer<ProgramReply>> {
  const request = requestOf(c);
  const { start, language } = parseStart(raw);
  const { settings } = deps;
  const facts = c.get("facts");
  facts.lang = language;
  facts.code_bytes = start.code.length;
  facts.tools = start.tools.length;
  const sessionId = newId();
  facts.session = sessionId;
  const prepared = await prepareExecFiles(deps.files, {
    principal: request.principal,
    sessionId,
    refs: start.files ?? [],
    limits: settings,
  });
  if (!prepared.ok) throw refusalError(prepared);
  const toolNames = start.tools.map(({ name }) => name);
  const call = {
    language,
    code: start.code,
    timeoutMs: Math.min(Math.ceil(start.timeout ?? settings.timeoutMs), settings.timeoutMaxMs),
    toolNames,
    files: prepared.files,
  };
  return deps.programs.start(request, {
    sessionId,
    toolNames: new Set(toolNames),
    run: (hooks) => runProgram(deps.executor, call, hooks),
  });
}

function proceed(
  c: AppContext,
  deps: AppDeps,
  raw: Readonly<Record<string, unknown>>,
): Promise<ProgramAnswer<ProgramReply>> {
  const token = raw.continuation_token;
  if (typeof token !== "string" || token === "") throw bad("Invalid continuation_token");
  const checked = checkToolResults(raw.tool_results);
  if (!checked.ok) throw bad(checked.error);
  c.get("facts").tool_results = checked.results.length;
  return deps.programs.continue(requestOf(c), token, checked.results);
}

const REFUSALS = { 400: "bad_request", 403: "forbidden", 404: "not_found", 409: "conflict" } as const;

function response(answer: ProgramAnswer<ProgramReply>): ProgrammaticResponse {
  if (answer.kind === "refused") {
    throw new ServiceError(REFUSALS[answer.status], answer.error, { text: answer.error });
  }
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
        413: errorResponse("Code, tools and file references exceed 10 MB."),
        429: errorResponse("`rate_limited`: too many requests or waiting programs, or the host is full."),
        503: UNAVAILABLE,
      },
    },
    access: "exec",
    // Rounds of one program are one execution.
    uncounted: true,
    async handle(c: AppContext): Promise<Response> {
      if (WORKSPACE_HEADERS.some((name) => c.req.header(name) !== undefined)) {
        throw new ServiceError(
          "unsupported_capability",
          "Attached workspaces are not supported: this service runs code in its own sandboxes",
        );
      }
      applyProfile(c, "default");
      const body = parseBody(z.record(z.string(), z.unknown()), await readJson(c));
      const continues = body.continuation_token !== undefined && body.continuation_token !== null;
      if (!continues) await countRequest(c, deps, "exec");
      const reply = response(await (continues ? proceed(c, deps, body) : begin(c, deps, body)));
      c.get("facts").outcome = reply.status;
      return c.json(reply);
    },
  };
}
