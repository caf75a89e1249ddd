/** A file as a caller of `commit` describes it; for tests and for the processes that they start. */
import { newId } from "../../../gateway/common/ids.ts";
import type { Holder, NewFile } from "../../../gateway/server/files/store.ts";

export const HOLDER: Holder = { key: "holder-of-these-tests", shared: false, tenant: "t" };

export function newFile(overrides: Partial<NewFile> = {}): NewFile {
  return {
    storageSessionId: newId(),
    name: "a/b.txt",
    contentType: "text/plain",
    owner: "t:user:u",
    kind: "user",
    resourceId: null,
    version: null,
    readOnly: false,
    storedBy: HOLDER.key,
    ...overrides,
  };
}
