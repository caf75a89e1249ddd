/** From a multipart body to committed files and what the client is told. */
import type { Readable } from "node:stream";
import { newId } from "../../common/ids.ts";
import type { Principal } from "../auth/principal.ts";
import {
  type AcceptedPart,
  MultipartError,
  type RefusedPart,
  receiveUpload,
  type Upload,
  type UploadLimits,
} from "./multipart.ts";
import { claimColumns, fileCaller, fileHolder, ownerKey, readClaim } from "./ownership.ts";
import type { FileStore } from "./store.ts";

export interface UploadRequest {
  readonly principal: Principal;
  readonly body: Readable;
  readonly contentType: string;
  readonly limits: Omit<UploadLimits, "holder">;
}

export type StoredUpload =
  | {
      readonly ok: true;
      /** All files of one upload share it. */
      readonly sessionId: string;
      readonly parts: readonly (AcceptedPart | RefusedPart)[];
      readonly filesLimitReached: boolean;
    }
  | { readonly ok: false; readonly status: 400 | 413; readonly error: string };

/**
 * `whole`: one refused file refuses the upload. `each`: the others are kept. Throws `FileStoreError`;
 * then nothing is left.
 */
export async function storeUpload(
  store: FileStore,
  request: UploadRequest,
  accept: "whole" | "each",
): Promise<StoredUpload> {
  const { principal, body, contentType, limits } = request;
  const holder = fileHolder(principal);
  let upload: Upload;
  try {
    upload = await receiveUpload(body, contentType, store, { ...limits, holder });
  } catch (error) {
    if (error instanceof MultipartError) return { ok: false, status: 400, error: error.message };
    throw error;
  }
  const accepted = upload.parts.filter((part) => part.accepted);
  const refuse = async (status: 400 | 413, error: string): Promise<StoredUpload> => {
    for (const part of accepted) await store.discard(part.staged);
    return { ok: false, status, error };
  };

  const { fields } = upload;
  const claimed = readClaim(fields);
  if (!claimed.ok) return refuse(400, claimed.error);
  if (upload.parts.length === 0) return refuse(400, "No files provided");
  if (accept === "whole") {
    const refused = upload.parts.find((part) => !part.accepted);
    if (refused) return refuse(refused.reason === "too_large" ? 413 : 400, refused.message);
    if (upload.filesLimitReached) return refuse(400, `more than ${limits.maxFiles} files`);
  }
  const sessionId = newId();
  if (accepted.length > 0) {
    const owner = ownerKey(fileCaller(principal), claimed.claim);
    await store.commit(
      accepted.map((part) => ({
        staged: part.staged,
        file: {
          storageSessionId: sessionId,
          name: part.name,
          contentType: part.contentType,
          owner,
          ...claimColumns(claimed.claim),
          readOnly: fields.read_only === "true",
          storedBy: holder.key,
        },
      })),
    );
  }
  return { ok: true, sessionId, parts: upload.parts, filesLimitReached: upload.filesLimitReached };
}
