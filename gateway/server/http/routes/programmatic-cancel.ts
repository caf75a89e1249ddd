/** `POST /exec/programmatic/cancel`: ends the program that a request belongs to, by the id which the client gave it. */
import { z } from "@hono/zod-openapi";
import { principalKey } from "../../auth/principal.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";
import { ServiceError } from "../errors.ts";
import { atHost } from "../in-session.ts";
import { readBody } from "../intake/body.ts";
import { CANCEL_BODY, CancelRequest } from "../requests/cancel.ts";
import { errorResponse, SECURITY, UNAUTHORIZED } from "../responses.ts";

const answer = (status: string, description: string) => ({
  description,
  content: { "application/json": { schema: z.object({ status: z.literal(status) }) } },
});

/** Null: it is here, or nowhere yet. */
async function hostOfRequest(
  c: AppContext,
  { fleet, programs }: AppDeps,
  requestId: string,
): Promise<string | null> {
  if (fleet === null || c.get("hop") !== undefined || programs.knows(requestId)) return null;
  return fleet.cancelRequest(principalKey(c.get("principal")), requestId);
}

export function programmaticCancelRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "post",
      path: "/exec/programmatic/cancel",
      summary: "End a program that calls tools",
      description: "Also while it waits for its tools, and also ahead of the request it names.",
      security: SECURITY,
      request: { body: { required: true, content: { "application/json": { schema: CancelRequest } } } },
      responses: {
        200: answer("already_completed", "The program had ended before."),
        202: answer("cancellation_requested", "The program is being ended; its sandbox is freed."),
        400: errorResponse("`request_id` is missing or wrong."),
        401: UNAUTHORIZED,
        403: errorResponse("Somebody else's request."),
      },
    },
    access: "exec",
    audit: "cancel",
    uncounted: true,
    continues: true,
    async handle(c: AppContext): Promise<Response> {
      const { request_id } = await readBody(c, deps, CANCEL_BODY);
      const host = await hostOfRequest(c, deps, request_id);
      const elsewhere = await atHost(c, deps, host);
      if (elsewhere !== null) return elsewhere;
      const status = deps.programs.cancel(c.get("principal"), request_id);
      c.get("facts").outcome = status;
      if (status === "forbidden") {
        throw new ServiceError("forbidden", "The request is somebody else's", { text: "Forbidden" });
      }
      return c.json({ status }, status === "already_completed" ? 200 : 202);
    },
  };
}
