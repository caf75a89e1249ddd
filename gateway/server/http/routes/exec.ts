/** `POST /exec`: LibreChat's call. */
import { z } from "@hono/zod-openapi";
import { newId } from "../../../common/ids.ts";
import { callerOf } from "../../auth/principal.ts";
import type { CallRequest, Finished } from "../../execution/call.ts";
import { prepareExecFiles } from "../../execution/files/call-files.ts";
import { type Display, Displays } from "../../execution/files/displays.ts";
import { ReplyFiles } from "../../execution/files/lineage.ts";
import { stderrWithNotes, verdict, waitRemark } from "../../execution/verdict.ts";
import type { Binding } from "../../sessions/lease.ts";
import { runtimeSessionKey } from "../../sessions/session-key.ts";
import { audited } from "../audit.ts";
import { type AppContext, type AppDeps, callSignal, type Route } from "../context.ts";
import { inSession, whereThereIsRoom } from "../in-session.ts";
import { readBody } from "../intake/body.ts";
import { answerInTime } from "../keep-alive.ts";
import { languageId, missingLanguage } from "../languages.ts";
import { notRunError } from "../not-run.ts";
import { applyProfile } from "../profile.ts";
import { refusalError } from "../refusals.ts";
import { EXEC_BODY, type ExecCall, ExecRequest } from "../requests/exec.ts";
import { errorResponse, RUN_ERRORS, SECURITY } from "../responses.ts";

export const ExecResponse = ReplyFiles.extend({
  session_id: z
    .string()
    .openapi({ description: "21 characters, new with each call: where its outputs are stored." }),
  stdout: z.string(),
  stderr: z.string(),
  code: z.number().int().nullable(),
  signal: z.string().nullable(),
  message: z.string().nullable(),
  status: z.enum(["TO", "OL", "SG"]).nullable(),
  wall_time: z.number().openapi({ description: "Milliseconds." }),
  runtime_session_id: z.string().optional(),
  runtime_status: z.enum(["new", "reused"]).optional(),
}).openapi("ExecResponse");

type ExecReply = z.infer<typeof ExecResponse>;

/** Its "run code" button offers every language, and shows a person nothing but standard output and error. */
const isLibreChat = (c: AppContext) => c.req.header("user-agent")?.startsWith("LibreChat/") === true;

/** As a shell answers for a command that it has not. */
const NO_SUCH_COMMAND = { stdout: "", code: 127, signal: null, message: null, status: null, wall_time: 0 };
const UNTOUCHED = { inputs: null, undelivered: [], leftBehind: { paths: [], counts: {} }, takenBack: false };

/** LibreChat starts a session before its first call by a command that does nothing. */
const isPrewarm = ({ language, code }: ExecCall) => languageId(language) === "bash" && code.trim() === "true";

/**
 * LibreChat's own reads and writes of files are bash without a user, and take any standard error for a failure when
 * nothing was printed: an empty file could not be read.
 */
function mayRemark({ language, ofUser }: ExecCall, { stdout }: Finished): boolean {
  return stdout !== "" || ofUser || languageId(language) !== "bash";
}

export function execRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/exec",
      summary: "Execute code for LibreChat",
      description:
        "Unknown fields are ignored. Without a hint the code runs in a sandbox of its own. LibreChat itself (`User-Agent`) gets a result for a language that the image lacks, as from a shell: `code` 127 and a sentence in `stderr`.",
      security: SECURITY,
      request: { body: { required: true, content: { "application/json": { schema: ExecRequest } } } },
      responses: {
        200: {
          description: "The code ran, however it ended.",
          content: { "application/json": { schema: ExecResponse } },
        },
        400: errorResponse("A field is missing or wrong, or the language is not there."),
        403: errorResponse("A file reference that is unknown, expired or somebody else's."),
        ...RUN_ERRORS,
      },
    },
    access: "exec",
    audit: "execute",
    async handle(c: AppContext): Promise<Response> {
      const call = await readBody(c, deps, EXEC_BODY);
      return inExecSession(c, deps, call, (mayRun) => {
        const running = Promise.withResolvers<void>();
        const hooks = { onRunning: running.resolve, signal: callSignal(c), mayRun };
        return answerInTime(c, deps, runExec(c, deps, call, hooks), running.promise);
      });
    },
  };
}

/** On the host that has the session; a call without one runs here, or where there is room. Throws `ServiceError`. */
export async function inExecSession(
  c: AppContext,
  deps: AppDeps,
  { hint }: ExecCall,
  run: Parameters<typeof inSession>[3],
): Promise<Response> {
  if (hint !== null) return inSession(c, deps, runtimeSessionKey(c.get("principal"), hint), run);
  return (await whereThereIsRoom(c, deps)) ?? run(undefined);
}

/** What a route wants to know of a call while it is under way. */
export type ExecHooks = Pick<CallRequest, "mayRun" | "onRunning" | "onStream" | "signal"> & {
  /** Says whether it was taken. */
  readonly onDisplay?: (display: Display) => boolean;
};

/** Throws `ServiceError`. */
export async function runExec(
  c: AppContext,
  deps: AppDeps,
  call: ExecCall,
  { onDisplay, ...hooks }: ExecHooks,
): Promise<ExecReply> {
  const { args, code, hint } = call;
  const displays = onDisplay === undefined ? null : new Displays(onDisplay);
  applyProfile(c, hint === null ? "default" : "stateful");
  const principal = c.get("principal");
  const facts = c.get("facts");
  const language = languageId(call.language);
  const sessionId = newId();
  facts.session = sessionId;
  facts.lang = language;
  facts.code_bytes = code.length;
  audited(c, { code, inputs: call.files.map(({ id }) => id) });
  const caller = callerOf(principal);
  let binding: Binding = { kind: "fresh", caller };
  let runtimeSessionId: string | null = null;
  if (hint !== null) {
    const key = runtimeSessionKey(principal, hint);
    binding = { kind: "session", key, caller, patient: isPrewarm(call) };
    runtimeSessionId = key.digest;
    facts.runtime_session = key.digest;
  }
  const prepared = await prepareExecFiles(deps.files, {
    principal,
    sessionId,
    refs: call.files,
    limits: deps.settings,
  });
  if (!prepared.ok) throw refusalError(prepared);
  const { files } = prepared;
  facts.inputs = files.inputs.length;
  try {
    const outcome = await deps.executor.execute({
      language,
      code,
      args,
      timeoutMs: Math.min(call.timeoutMs ?? deps.settings.timeoutMs, deps.settings.timeoutMaxMs),
      binding,
      inputs: files.inputs,
      outputs: displays === null ? files.outputs : displays.watch(files.outputs),
      onShown: displays?.shown,
      ...hooks,
    });
    facts.outcome = outcome.kind;
    if (outcome.kind === "unsupported_language") {
      const sentence = isLibreChat(c) ? missingLanguage(language, outcome.supported) : null;
      if (sentence === null) throw notRunError({ ...outcome, language: call.language.slice(0, 32) });
      return {
        session_id: sessionId,
        ...(await files.settle(UNTOUCHED)),
        ...NO_SUCH_COMMAND,
        stderr: `${sentence}\n`,
      };
    }
    if (outcome.kind !== "finished") throw notRunError(outcome);
    facts.reason = outcome.reason;
    facts.kernel = outcome.kernel.status;
    const lineage = await files.settle(outcome);
    facts.files = lineage.files.length;
    audited(c, { outputs: lineage.files.map(({ id }) => id) });
    return {
      session_id: sessionId,
      stdout: outcome.stdout,
      stderr: stderrWithNotes(
        outcome,
        hint !== null,
        mayRemark(call, outcome) ? [...files.notes, ...waitRemark(outcome)] : [],
      ),
      ...lineage,
      ...verdict(outcome),
      wall_time: Math.round(outcome.wallTimeMs),
      ...(runtimeSessionId === null
        ? {}
        : { runtime_session_id: runtimeSessionId, runtime_status: outcome.kernel.status }),
    };
  } finally {
    // Whatever the call did not come to keep; nothing after `settle`.
    await files.discard();
  }
}
