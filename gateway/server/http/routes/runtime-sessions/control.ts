/** What the owner of a session can do to it: interrupt what runs, restart its kernel, forget it. */
import { z } from "@hono/zod-openapi";
import { type AppContext, type AppDeps, callSignal, type Route } from "../../context.ts";
import { ServiceError } from "../../errors.ts";
import { forgottenByAll } from "../../in-session.ts";
import { launcherFailure } from "../../launcher-failure.ts";
import { errorResponse, SECURITY } from "../../responses.ts";
import { answerOfItsHost, CONTROL_ERRORS, ownSession, ownSessionOrFiles, SessionParams } from "./view.ts";

const Interrupted = z.object({ interrupted: z.boolean() }).openapi("Interrupted");
const Restarted = z.object({ restarted: z.boolean() }).openapi("Restarted");

const content = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

export function interruptRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/runtime-sessions/{session}/interrupt",
      summary: "Interrupt the running call",
      description:
        "Variables are kept where the code can be interrupted. The call itself is answered as interrupted; those that wait go on.",
      security: SECURITY,
      request: { params: SessionParams },
      responses: {
        200: { description: "`false`: no call ran.", content: content(Interrupted) },
        ...CONTROL_ERRORS,
      },
    },
    access: "exec",
    audit: "interrupt",
    uncounted: true,
    continues: true,
    async handle(c: AppContext): Promise<Response> {
      const elsewhere = await answerOfItsHost(c, deps);
      if (elsewhere !== null) return elsewhere;
      const interrupted = ownSession(c, deps).interrupt();
      return c.json({ interrupted } satisfies z.infer<typeof Interrupted>);
    },
  };
}

export function restartRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/runtime-sessions/{session}/restart",
      summary: "End the kernel of a session",
      description:
        "Whatever runs in it, or asleep. Files are kept, variables are lost; the next call starts a new kernel and is told.",
      security: SECURITY,
      request: { params: SessionParams },
      responses: {
        200: { description: "`false`: it had no kernel.", content: content(Restarted) },
        ...CONTROL_ERRORS,
      },
    },
    access: "exec",
    audit: "restart",
    uncounted: true,
    async handle(c: AppContext): Promise<Response> {
      const elsewhere = await answerOfItsHost(c, deps);
      if (elsewhere !== null) return elsewhere;
      const restarted = await ownSession(c, deps)
        .restart()
        .catch((error: unknown) => {
          throw launcherFailure(error);
        });
      return c.json({ restarted } satisfies z.infer<typeof Restarted>);
    },
  };
}

export function forgetRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "delete",
      path: "/runtime-sessions/{session}",
      summary: "Forget a session",
      description:
        "Ends its kernel, whatever runs in it or asleep, and removes its files. Calls that wait for it already are served first.",
      security: SECURITY,
      request: { params: SessionParams },
      responses: {
        204: { description: "It is gone, with its files." },
        409: errorResponse("`runtime_session_busy`: its calls took too long."),
        ...CONTROL_ERRORS,
      },
    },
    access: "exec",
    audit: "forget",
    uncounted: true,
    async handle(c: AppContext): Promise<Response> {
      const elsewhere = await answerOfItsHost(c, deps);
      if (elsewhere !== null) return elsewhere;
      const session = ownSessionOrFiles(c, deps);
      const forgotten = await session.forget(callSignal(c)).catch((error: unknown) => {
        throw launcherFailure(error);
      });
      const hadFiles = await forgottenByAll(c, deps, session.key);
      if (!forgotten && !hadFiles)
        throw new ServiceError("not_found", "There is no such session, and no files of one");
      return c.body(null, 204);
    },
  };
}
