/** What a request for files names: session, file and claim, as parameters and as the file itself. */
import { z } from "@hono/zod-openapi";
import { Id, isId } from "../../../../common/ids.ts";
import { accessFile } from "../../../files/access.ts";
import { type ClaimFields, KINDS } from "../../../files/ownership.ts";
import type { SessionFile } from "../../../files/store.ts";
import { audited } from "../../audit.ts";
import type { AppContext, AppDeps } from "../../context.ts";
import { ServiceError } from "../../errors.ts";
import { refusalError } from "../../refusals.ts";

export const SessionParams = z.object({
  session_id: Id.openapi({ description: "Storage session of an upload or session of an execution." }),
});
export const FileParams = SessionParams.extend({ file_id: Id.openapi({ description: "The file." }) });

/** Every one may be absent: older clients send none of them. */
export const Claim = z.object({
  kind: z.enum(KINDS).optional().openapi({ description: "Default `user`." }),
  id: z.string().optional().openapi({ description: "Id of the skill, agent or user." }),
  version: z.string().optional().openapi({ description: "Skills only." }),
  entity_id: z.string().optional().openapi({ description: "Older clients: id of the agent." }),
});

export function claimFields(c: AppContext): ClaimFields {
  return {
    kind: c.req.query("kind"),
    id: c.req.query("id"),
    version: c.req.query("version"),
    entity_id: c.req.query("entity_id"),
  };
}

/** Reads an id from the path. Throws 400 when it has not the shape of one. */
export function pathId(c: AppContext, name: "session_id" | "file_id"): string {
  const value = c.req.param(name) ?? "";
  if (!isId(value)) {
    throw new ServiceError("bad_request", `${name} must be 21 characters of A-Z a-z 0-9 _ -`, {
      text: "Bad request",
    });
  }
  return value;
}

/** The file that path and claim name. Throws 400, 403 or 404. */
export async function requestedFile(c: AppContext, deps: AppDeps): Promise<SessionFile> {
  const sessionId = pathId(c, "session_id");
  const fileId = pathId(c, "file_id");
  audited(c, { session: sessionId, outputs: [fileId] });
  const access = await accessFile(deps.files, c.get("principal"), sessionId, fileId, claimFields(c));
  if (!access.ok) throw refusalError(access);
  return access.file;
}
