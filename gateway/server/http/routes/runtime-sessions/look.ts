/** `GET /runtime-sessions` and `GET /runtime-sessions/{session}`: the caller's own sessions. */
import { z } from "@hono/zod-openapi";
import type { AppContext, AppDeps, Route } from "../../context.ts";
import { fromOtherHosts } from "../../in-session.ts";
import { SECURITY } from "../../responses.ts";
import { answerOfItsHost, ERRORS, ownSession, RuntimeSession, SessionParams, viewOf } from "./view.ts";

export const RuntimeSessions = z.object({ sessions: z.array(RuntimeSession) }).openapi("RuntimeSessions");

/** One that has moved may be remembered where it was: the host that used it last has it. */
function lastUsedFirst(
  sessions: readonly z.infer<typeof RuntimeSession>[],
): z.infer<typeof RuntimeSession>[] {
  const sorted = [...sessions].sort((one, other) => one.unused_seconds - other.unused_seconds);
  return sorted.filter(({ id }, index) => sorted.findIndex((other) => other.id === id) === index);
}

export function listSessionsRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/runtime-sessions",
      summary: "List one's own sessions",
      description:
        "Those with a kernel, awake or asleep, and those that were used since their gateway started; last used first. A key sees all sessions of its tenant, a token those of its user.",
      security: SECURITY,
      responses: {
        200: {
          description: "The caller's sessions.",
          content: { "application/json": { schema: RuntimeSessions } },
        },
        401: ERRORS[401],
        429: ERRORS[429],
      },
    },
    access: "files",
    async handle(c: AppContext): Promise<Response> {
      const here = deps.sessions.list(c.get("principal")).map(viewOf);
      const there = (await fromOtherHosts(c, deps)).flatMap((said) => {
        const parsed = RuntimeSessions.safeParse(said);
        return parsed.success ? parsed.data.sessions : [];
      });
      return c.json({ sessions: lastUsedFirst([...here, ...there]) } satisfies z.infer<
        typeof RuntimeSessions
      >);
    },
  };
}

export function lookAtSessionRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/runtime-sessions/{session}",
      summary: "Look at a session",
      security: SECURITY,
      request: { params: SessionParams },
      responses: {
        200: { description: "As it is now.", content: { "application/json": { schema: RuntimeSession } } },
        ...ERRORS,
      },
    },
    access: "files",
    async handle(c: AppContext): Promise<Response> {
      const elsewhere = await answerOfItsHost(c, deps);
      if (elsewhere !== null) return elsewhere;
      return c.json(viewOf(ownSession(c, deps)));
    },
  };
}
