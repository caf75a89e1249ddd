/** `POST /exec/stream`: LibreChat's call, told as it happens. */
import { type AppContext, type AppDeps, callSignal, type Route } from "../context.ts";
import { EventStream } from "../event-stream.ts";
import { brokeOff } from "../failure.ts";
import { readBody } from "../intake/body.ts";
import { EXEC_BODY, type ExecCall, ExecRequest } from "../requests/exec.ts";
import { errorResponse, RUN_ERRORS, SECURITY } from "../responses.ts";
import { type ExecHooks, inExecSession, runExec } from "./exec.ts";

/** As JSON six times as long at most, which is less than may wait for a reader. */
const PIECE_BYTES = 32 * 1024;

const DESCRIPTION = [
  "The body of `POST /exec`; the reply is a stream of server-sent events, each with JSON in `data`:",
  "",
  "- `running`: `{}`, the code has begun;",
  "- `stdout`, `stderr`: `{text}`, as the code prints;",
  "- `display`: `{name, media_type, data}`, in base64: what the code shows (`plt.show()`, `display(x)`, a last value), when it shows it, at most a hundred times and 4 MiB in all; at the end pictures that it left besides. Each where it has at most 96 KiB. A name that comes again takes the place of what it named;",
  "- `left_out`: `{bytes}` of output and pictures that the reader was too slow for; `result` has them, within its limits;",
  "- `result`: the reply of `POST /exec`, with the files that the call left, figures among them. The last one;",
  "- `error`: the error of `POST /exec` with its HTTP `status`. The last one instead.",
  "",
  "What is refused before the code runs has its own HTTP status, and no stream. Comments keep the connection while nothing happens.",
].join("\n");

export function execStreamRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/exec/stream",
      summary: "Execute code and hear of it as it happens",
      description: DESCRIPTION,
      security: SECURITY,
      request: { body: { required: true, content: { "application/json": { schema: ExecRequest } } } },
      responses: {
        200: { description: "The code runs.", content: { "text/event-stream": {} } },
        400: errorResponse("A field is missing or wrong, or the language is not there."),
        403: errorResponse("A file reference that is unknown, expired or somebody else's."),
        ...RUN_ERRORS,
      },
    },
    access: "exec",
    audit: "execute",
    streams: true,
    async handle(c: AppContext): Promise<Response> {
      const call = await readBody(c, deps, EXEC_BODY);
      return inExecSession(c, deps, call, (mayRun) => streamed(c, deps, call, mayRun));
    },
  };
}

/** Throws `ServiceError` when the code did not run. */
async function streamed(
  c: AppContext,
  deps: AppDeps,
  call: ExecCall,
  mayRun: ExecHooks["mayRun"],
): Promise<Response> {
  const gone = new AbortController();
  const events = new EventStream(() => gone.abort(new Error("the reader has left")));
  const running = Promise.withResolvers<"running">();
  const text = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  const answer = runExec(c, deps, call, {
    signal: AbortSignal.any([callSignal(c), gone.signal]),
    mayRun,
    onRunning: () => {
      events.piece("running", {}, 0);
      running.resolve("running");
    },
    onDisplay: ({ bytes, mediaType, name }) =>
      events.piece("display", { name, media_type: mediaType, data: bytes.toString("base64") }, bytes.length),
    onStream: (name, bytes) => {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        events.piece(name, { text: text[name].decode(piece, { stream: true }) }, piece.length);
      }
    },
  });
  // What never runs is told by its status.
  const first = await Promise.race([answer.catch((error: unknown) => ({ error })), running.promise]);
  if (first !== "running" && "error" in first) {
    events.discard();
    throw first.error;
  }
  const told = answer.then(
    (result) => events.end("result", result),
    (error: unknown) => {
      const failure = brokeOff(error, c, deps);
      events.end("error", { status: failure.status, ...failure.body() });
    },
  );
  c.set("answered", told);
  return c.body(events.stream, 200, {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
}
