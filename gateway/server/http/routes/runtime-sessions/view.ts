/** A session as its owner is shown it, and the request that names one. */
import { z } from "@hono/zod-openapi";
import { sessionKeysOf } from "../../../sessions/owned.ts";
import type { Session } from "../../../sessions/session.ts";
import { audited } from "../../audit.ts";
import type { AppContext, AppDeps } from "../../context.ts";
import { ServiceError } from "../../errors.ts";
import { atItsHost } from "../../in-session.ts";
import { errorResponse, UNAUTHORIZED, UNAVAILABLE } from "../../responses.ts";

export const RuntimeSession = z
  .object({
    id: z.string().openapi({ description: "The `session_id` of `POST /run`, or a `runtime_session_id`." }),
    state: z.enum(["none", "asleep", "idle", "busy"]).openapi({
      description:
        "Of its kernel. `none`: it has none now; its files are kept, and the next call starts one. `asleep`: the next call wakes it, with its variables.",
    }),
    has_variables: z.boolean().openapi({ description: "Code has run in the present kernel." }),
    waiting: z.number().int().openapi({ description: "Calls that wait for their turn." }),
    unused_seconds: z.number().openapi({
      description:
        "Since its last call ended; since it fell asleep where its gateway has started after that.",
    }),
    running_seconds: z.number().nullable().openapi({ description: "Of the running call." }),
  })
  .openapi("RuntimeSession");

export const SessionParams = z.object({
  session: z.string().openapi({
    param: { name: "session", in: "path" },
    description: "`id` of a listed session: a `runtime_session_id`, or the `session_id` of `POST /run`.",
  }),
});

export const ERRORS = {
  401: UNAUTHORIZED,
  404: errorResponse("The caller has no such session."),
  429: errorResponse("`rate_limited`."),
} as const;

/** Of those that change something. */
export const CONTROL_ERRORS = { ...ERRORS, 503: UNAVAILABLE } as const;

const seconds = (ms: number) => Math.round(ms) / 1000;

export function viewOf({ view }: Session): z.infer<typeof RuntimeSession> {
  const { key, state, hasVariables, waiting, unusedMs, runningMs } = view;
  return {
    id: key.kind === "named" ? key.name : key.digest,
    state,
    has_variables: hasVariables,
    waiting,
    unused_seconds: seconds(runningMs === null ? unusedMs : 0),
    running_seconds: runningMs === null ? null : seconds(runningMs),
  };
}

const noSuchSession = () =>
  new ServiceError(
    "not_found",
    "No session of that id is yours here; `GET /runtime-sessions` lists those that are",
  );

function sessionId(c: AppContext): string {
  const id = c.req.param("session") ?? "";
  audited(c, { session: id.slice(0, 64) });
  return id;
}

/** The answer of the host that has the session; null: that is this one, or nobody has it. Throws `ServiceError`. */
export function answerOfItsHost(c: AppContext, deps: AppDeps): Promise<Response | null> {
  return atItsHost(c, deps, sessionKeysOf(c.get("principal"), c.req.param("session") ?? ""));
}

/** Throws 404, also for somebody else's. */
export function ownSession(c: AppContext, { sessions }: AppDeps): Session {
  const session = sessions.find(c.get("principal"), sessionId(c));
  if (session === null) throw noSuchSession();
  return session;
}

/** Likewise, but one of which only the files are left is found by its name. */
export function ownSessionOrFiles(c: AppContext, { sessions }: AppDeps): Session {
  const session = sessions.findOrRemember(c.get("principal"), sessionId(c));
  if (session === null) throw noSuchSession();
  return session;
}
