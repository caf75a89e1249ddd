/** What the file routes share: their dependencies, parameters and refusals in the service's envelope. */
import { z } from "@hono/zod-openapi";
import { isId } from "../../../../common/ids.ts";
import type { Settings } from "../../../../common/settings/read.ts";
import type { AccessRefusal } from "../../../files/access.ts";
import type { ClaimFields } from "../../../files/ownership.ts";
import { type FileStore, FileStoreError } from "../../../files/store.ts";
import type { AppContext } from "../../context.ts";
import { ErrorEnvelope, ServiceError } from "../../errors.ts";

export interface FileRouteDeps {
  readonly files: FileStore;
  readonly settings: Pick<Settings, "fileMaxBytes" | "filesMax">;
}

export const SECURITY = [{ apiKey: [] }, { bearer: [] }];

const id = (description: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]{21}$/)
    .openapi({ description });

export const SessionParams = z.object({
  session_id: id("Storage session of an upload or session of an execution."),
});
export const FileParams = SessionParams.extend({ file_id: id("The file.") });

/** Every one may be absent: older clients send none of them. */
export const ClaimQuery = z.object({
  kind: z.enum(["skill", "agent", "user"]).optional(),
  id: z.string().optional().openapi({ description: "Id of the skill, agent or user." }),
  version: z.string().optional().openapi({ description: "Skills only." }),
  entity_id: z.string().optional().openapi({ description: "Older clients: id of the agent." }),
});

export const errorResponse = (description: string) => ({
  description,
  content: { "application/json": { schema: ErrorEnvelope } },
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

const REFUSAL_CODES = {
  400: "bad_request",
  403: "forbidden",
  404: "not_found",
  413: "payload_too_large",
} as const;

export function refusalError(refusal: {
  readonly status: AccessRefusal["status"] | 413;
  readonly error: string;
}): ServiceError {
  const message =
    refusal.status === 404 ? "It was never there, was deleted, or its time is over" : refusal.error;
  return new ServiceError(REFUSAL_CODES[refusal.status], message, {
    text: refusal.error,
    ...(refusal.status === 404 ? { extra: { details: message } } : {}),
  });
}

/** What the store could not do, as an answer; anything else is passed on. */
export async function answeringForStore<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof FileStoreError)) throw error;
    switch (error.code) {
      case "too_large":
        throw new ServiceError("payload_too_large", error.message, { text: "File size limit exceeded" });
      case "storage_full":
        throw new ServiceError("storage_full", error.message);
      case "closed":
        throw new ServiceError("shutting_down", error.message, { text: "Service is shutting down" });
      default:
        throw error;
    }
  }
}
