/**
 * Where what lies in the bucket:
 *
 *   content/<id>                  bytes of a file
 *   sessions/<session>/<id>.json  what a session lists: its own files, and links (`{"link":{"owner","name"}}`)
 *   files/<id>.json               the record; a file exists exactly while this object does
 */

export const UNDER = { content: "content/", sessions: "sessions/", records: "files/" } as const;

export function contentKey(id: string): string {
  return `${UNDER.content}${id}`;
}

export function recordKey(id: string): string {
  return `${UNDER.records}${id}.json`;
}

export function entriesUnder(sessionId: string): string {
  return `${UNDER.sessions}${sessionId}/`;
}

export function entryKey(sessionId: string, id: string): string {
  return `${entriesUnder(sessionId)}${id}.json`;
}

export function idOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1).replace(/\.json$/, "");
}

/** By code unit, as the bucket lists them. */
export function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
