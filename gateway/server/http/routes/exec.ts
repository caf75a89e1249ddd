/** `POST /exec`: LibreChat's call. */
import { z } from "@hono/zod-openapi";
import { newId } from "../../../common/ids.ts";
import type { Finished } from "../../execution/call.ts";
import { prepareExecFiles } from "../../execution/files/call-files.ts";
import { FileRef, MAX_FILE_REFS, ReplyFiles } from "../../execution/files/lineage.ts";
import { stderrWithNotes, verdict, waitRemark } from "../../execution/verdict.ts";
import type { Binding } from "../../sessions/lease.ts";
import { runtimeSessionKey } from "../../sessions/session-key.ts";
import { readJson } from "../body.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";
import { badField, parseBody } from "../errors.ts";
import { languageId, missingLanguage } from "../languages.ts";
import { notRunError } from "../not-run.ts";
import { applyProfile } from "../profile.ts";
import { refusalError } from "../refusals.ts";
import { errorResponse, RUN_ERRORS, SECURITY } from "../responses.ts";

/** What a command line takes on Linux, with the byte that ends each. */
const MAX_ARG_BYTES = 128 * 1024 - 1;
const MAX_ARGS_BYTES = 2 * 1024 * 1024;
const HINT = /^[A-Za-z0-9._:-]{1,128}$/;

/** Throws a 400 that names the argument. */
function requireCommandLine(args: readonly string[]): void {
  const sizes = args.map((arg) => Buffer.byteLength(arg));
  const long = sizes.findIndex((size) => size > MAX_ARG_BYTES);
  if (long !== -1) throw badField(`args[${long}]`, `exceeds ${MAX_ARG_BYTES} bytes`);
  if (sizes.reduce((sum, size) => sum + size + 1, 0) > MAX_ARGS_BYTES) {
    throw badField("args", `exceeds ${MAX_ARGS_BYTES} bytes together`);
  }
}

export const ExecRequest = z
  .object({
    lang: z
      .string()
      .min(1)
      .openapi({ description: "`py`, `bash`, or what else the image declares.", example: "py" }),
    code: z.string(),
    args: z
      .array(z.string())
      .nullish()
      .openapi({ description: "Appended as argv: each up to 128 KiB, together up to 2 MiB." }),
    files: z.array(FileRef).max(MAX_FILE_REFS).nullish().openapi({
      description:
        "Put at `/mnt/data/<name>`; of several with one name the newest stored one, and standard error names the others.",
    }),
    user_id: z.unknown().optional(),
    session_id: z.unknown().optional(),
    runtime_session_hint: z.string().nullish().openapi({
      description: "Same caller, same hint: same live kernel and `/mnt/data`.",
    }),
    timeout: z
      .number()
      .positive()
      .nullish()
      .openapi({ description: "Wall clock in milliseconds; cut to the service's maximum." }),
  })
  .openapi("ExecRequest");

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

type Body = z.infer<typeof ExecRequest>;
type ExecReply = z.infer<typeof ExecResponse>;

/** Its "run code" button offers every language, and shows a person nothing but standard output and error. */
const isLibreChat = (c: AppContext) => c.req.header("user-agent")?.startsWith("LibreChat/") === true;

/** As a shell answers for a command that it has not. */
const NO_SUCH_COMMAND = { stdout: "", code: 127, signal: null, message: null, status: null, wall_time: 0 };
const UNTOUCHED = { inputs: null, undelivered: [], leftBehind: { paths: [], counts: {} } };

/** LibreChat starts a session before its first call by a command that does nothing. */
const isPrewarm = ({ lang, code }: Body) => languageId(lang) === "bash" && code.trim() === "true";

/**
 * LibreChat's own reads and writes of files are bash without a user, and take any standard error for a failure when
 * nothing was printed: an empty file could not be read.
 */
function mayRemark({ lang, user_id }: Body, { stdout }: Finished): boolean {
  return stdout !== "" || user_id !== undefined || languageId(lang) !== "bash";
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
    async handle(c: AppContext): Promise<Response> {
      const body = parseBody(ExecRequest, await readJson(c));
      const hint = body.runtime_session_hint ?? null;
      applyProfile(c, hint === null ? "default" : "stateful");
      const args = body.args ?? [];
      requireCommandLine(args);
      const principal = c.get("principal");
      const facts = c.get("facts");
      const language = languageId(body.lang);
      const sessionId = newId();
      facts.session = sessionId;
      facts.lang = language;
      facts.code_bytes = body.code.length;
      let binding: Binding = { kind: "fresh" };
      let runtimeSessionId: string | null = null;
      if (hint !== null) {
        if (!HINT.test(hint)) {
          throw badField("runtime_session_hint", "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -");
        }
        const key = runtimeSessionKey(principal, hint);
        binding = { kind: "session", key, patient: isPrewarm(body) };
        runtimeSessionId = key.digest;
        facts.runtime_session = key.digest;
      }
      const prepared = await prepareExecFiles(deps.files, {
        principal,
        sessionId,
        refs: body.files ?? [],
        limits: deps.settings,
      });
      if (!prepared.ok) throw refusalError(prepared);
      const { files } = prepared;
      facts.inputs = files.inputs.length;
      try {
        const outcome = await deps.executor.execute({
          language,
          code: body.code,
          args,
          timeoutMs: Math.min(Math.ceil(body.timeout ?? deps.settings.timeoutMs), deps.settings.timeoutMaxMs),
          binding,
          inputs: files.inputs,
          outputs: files.outputs,
          signal: c.req.raw.signal,
        });
        facts.outcome = outcome.kind;
        if (outcome.kind === "unsupported_language") {
          const sentence = isLibreChat(c) ? missingLanguage(language, outcome.supported) : null;
          if (sentence === null) throw notRunError({ ...outcome, language: body.lang.slice(0, 32) });
          return c.json({
            session_id: sessionId,
            ...(await files.settle(UNTOUCHED)),
            ...NO_SUCH_COMMAND,
            stderr: `${sentence}\n`,
          } satisfies ExecReply);
        }
        if (outcome.kind !== "finished") throw notRunError(outcome);
        facts.reason = outcome.reason;
        facts.kernel = outcome.kernel.status;
        const lineage = await files.settle(outcome);
        facts.files = lineage.files.length;
        return c.json({
          session_id: sessionId,
          stdout: outcome.stdout,
          stderr: stderrWithNotes(
            outcome,
            hint !== null,
            mayRemark(body, outcome) ? [...files.notes, ...waitRemark(outcome)] : [],
          ),
          ...lineage,
          ...verdict(outcome),
          wall_time: Math.round(outcome.wallTimeMs),
          ...(runtimeSessionId === null
            ? {}
            : { runtime_session_id: runtimeSessionId, runtime_status: outcome.kernel.status }),
        } satisfies ExecReply);
      } finally {
        // Whatever the call did not come to keep; nothing after `settle`.
        await files.discard();
      }
    },
  };
}
