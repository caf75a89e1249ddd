/** The one gate between a request and a stored file: what is malformed, unknown, or someone else's. */
import type { Principal } from "../auth/principal.ts";
import { type ClaimFields, fileCaller, mayUseFound, readClaim } from "./ownership.ts";
import type { FileStore, SessionFile } from "./store.ts";

export interface AccessRefusal {
  readonly ok: false;
  readonly status: 400 | 403 | 404;
  readonly error: string;
}

/** One file, for reading, deleting or running with it. */
export async function accessFile(
  store: FileStore,
  principal: Principal,
  sessionId: string,
  fileId: string,
  fields: ClaimFields,
): Promise<AccessRefusal | { readonly ok: true; readonly file: SessionFile }> {
  const claimed = readClaim(fields);
  if (!claimed.ok) return { ok: false, status: 400, error: claimed.error };
  const file = await store.find(sessionId, fileId);
  if (!file) return { ok: false, status: 404, error: "File not found" };
  if (!mayUseFound(fileCaller(principal), claimed.claim, file)) {
    return { ok: false, status: 403, error: "Unauthorized" };
  }
  return { ok: true, file };
}

/** All files of a session that the caller may use; a session that holds only others' files is refused. */
export async function accessSession(
  store: FileStore,
  principal: Principal,
  sessionId: string,
  fields: ClaimFields,
): Promise<AccessRefusal | { readonly ok: true; readonly files: readonly SessionFile[] }> {
  const claimed = readClaim(fields);
  if (!claimed.ok) return { ok: false, status: 400, error: claimed.error };
  const caller = fileCaller(principal);
  const all = await store.list(sessionId);
  const files = all.filter((file) => mayUseFound(caller, claimed.claim, file));
  if (all.length > 0 && files.length === 0) return { ok: false, status: 403, error: "Unauthorized" };
  return { ok: true, files };
}
