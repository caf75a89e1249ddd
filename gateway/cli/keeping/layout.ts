/** What a backup keeps of a data directory, and what it leaves out: one table. Whatever stands in no row is in no archive. */

/** The file whose presence in an archive ends it: what is in it, in its order. */
export const MANIFEST = "manifest.jsonl";
/** The archive's first entry. */
export const HEAD = "kernelyard-backup.json";
/** Where a restore works, below the data directory, until all is in its place. */
export { RESTORING } from "../../host/data-directory.ts";
/** Where a backup makes its copies, below the data directory. */
export const COPIES = ".backup";

export type PartName =
  | "identity"
  | "settings"
  | "keys"
  | "records"
  | "files"
  | "audit"
  | "usage"
  | "volumes"
  | "told";

interface Part {
  readonly name: PartName;
  readonly path: RegExp;
  readonly owner: "root" | "gateway";
  readonly mode: number;
}

const VOLUME = "librechat_vol_[A-Za-z0-9_.-]{1,120}";

/** Paths in an archive, relative to the data directory. Owner and mode come from here, never from the archive. */
const PARTS: readonly Part[] = [
  { name: "identity", path: /^instance$/, owner: "root", mode: 0o644 },
  { name: "identity", path: /^volumes\/quota-mode$/, owner: "root", mode: 0o600 },
  { name: "settings", path: /^settings\.env$/, owner: "root", mode: 0o600 },
  { name: "keys", path: /^keys\/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, owner: "root", mode: 0o600 },
  { name: "records", path: /^gateway\/files\/records\.db$/, owner: "gateway", mode: 0o600 },
  {
    name: "files",
    path: /^gateway\/files\/content\/([A-Za-z0-9_-])\/\1[A-Za-z0-9_-]{20}$/,
    owner: "gateway",
    mode: 0o600,
  },
  {
    name: "audit",
    path: /^gateway\/audit\/audit-\d{4}-\d{2}-\d{2}\.\d{1,9}\.jsonl$/,
    owner: "gateway",
    mode: 0o600,
  },
  { name: "usage", path: /^gateway\/usage\.json$/, owner: "gateway", mode: 0o600 },
  { name: "volumes", path: new RegExp(`^volumes/last-use/${VOLUME}$`), owner: "root", mode: 0o600 },
  { name: "volumes", path: new RegExp(`^volumes/images/${VOLUME}\\.ext4$`), owner: "root", mode: 0o600 },
  { name: "told", path: new RegExp(`^checkpoints/awake/${VOLUME}$`), owner: "root", mode: 0o600 },
];

/** Null: nothing of that path belongs into a data directory that is restored. */
export function partOf(path: string): Part | null {
  return PARTS.find((part) => part.path.test(path)) ?? null;
}

/** Of a data directory's own entries: what is made again, and why it is in no backup. */
const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [/^(run|launcher\.lock|backup\.lock|\.backup)$/, "of the running service alone"],
  [/^(launcher|gateway)\.log(\.\d)?$/, "logs"],
  [/^checkpoints$/, "sessions asleep: their files are kept, their variables are not"],
  [/^lost\+found$/, "the file system's"],
];
const KEPT = new Set(["instance", "settings.env", "keys", "gateway", "volumes"]);

/** Of the data directory's entries, those that nobody here knows: a backup says that it leaves them out. */
export function strangers(entries: readonly string[]): string[] {
  return entries.filter((entry) => !KEPT.has(entry) && !LEFT_OUT.some(([name]) => name.test(entry)));
}

/** Of a directory's entries, those that are in the way of a restore. */
export function inTheWay(entries: readonly string[]): string[] {
  const harmless = /^(launcher\.lock|backup\.lock|run|\.restoring|lost\+found)$/;
  return entries.filter((entry) => !harmless.test(entry));
}

/** Folders on the way to a file, outermost first. All are their owner's alone. */
export function foldersOf(path: string): { readonly path: string; readonly owner: "root" | "gateway" }[] {
  const names = path.split("/").slice(0, -1);
  return names.map((_, index) => ({
    path: names.slice(0, index + 1).join("/"),
    owner: names[0] === "gateway" ? "gateway" : "root",
  }));
}
