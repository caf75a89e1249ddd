/**
 * Where what lies in the bucket:
 *
 *   content/<id>                  bytes of a file
 *   sessions/<session>/<id>.json  what a session lists: its own files, and links (`{"link":{"owner","name"}}`)
 *   usage/<holder>/<id>.<size>    on whose account it is: a listing tells what a holder has stored
 *   files/<id>.json               the record; a file exists exactly while this object does
 *   workspaces/<session>/<object> a session's directory, packed for other hosts; the fleet's directory points at one of them
 */

export const UNDER = {
  content: "content/",
  sessions: "sessions/",
  usage: "usage/",
  records: "files/",
  workspaces: "workspaces/",
} as const;

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

export function usageUnder(holder: string): string {
  return `${UNDER.usage}${holder}/`;
}

export function usageKey(holder: string, id: string, size: number): string {
  return `${usageUnder(holder)}${id}.${size}`;
}

/** Bytes of the file that a key under `usage/` stands for. */
export function usageBytes(key: string): number {
  return Number(/\.(\d{1,15})$/.exec(key)?.[1] ?? 0);
}

export function idOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1).replace(/\.json$/, "");
}

/** By code unit, as the bucket lists them. */
export function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
