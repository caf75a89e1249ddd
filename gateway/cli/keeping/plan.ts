/** Which files a backup takes in which order, from what lies in the data directory. Pure. */
import { partOf } from "./layout.ts";

export type Planned =
  /** Replaced as a whole when it changes: read as it is. */
  | { readonly how: "whole"; readonly path: string }
  /** Appended to: its whole lines. */
  | { readonly how: "lines"; readonly path: string }
  /** Written to in place: a copy of one moment. */
  | { readonly how: "image"; readonly path: string }
  /** Not there as such: what a session's next call is told. */
  | { readonly how: "made"; readonly path: string; readonly text: string };

export interface Listing {
  /** Of keys, volumes, audit and the directory itself, relative to it. */
  readonly files: readonly string[];
  /** Volumes whose sessions have variables, awake or asleep: these are in no backup. */
  readonly withVariables: readonly string[];
}

/** The end of a sentence, as sessions are told it. */
export const LOST_WITH_RESTORE = "the service was restored from a backup, which has files and no variables";

/**
 * Who a session is comes before its image, keys before what they open, and the audit log last: it has what happened
 * meanwhile. Records and content of files are a chapter of their own, after the images.
 */
export function planBackup({ files, withVariables }: Listing): {
  readonly before: Planned[];
  readonly after: Planned[];
} {
  const known = [...files].sort().filter((path) => partOf(path) !== null);
  const of = (...names: string[]) => known.filter((path) => names.includes(partOf(path)?.name ?? ""));
  const whole = of("identity", "settings", "keys", "usage").map((path): Planned => ({ how: "whole", path }));
  const volumes = of("volumes").map(
    (path): Planned => ({ how: path.endsWith(".ext4") ? "image" : "whole", path }),
  );
  const told = [...new Set(withVariables)].sort().map(
    (volume): Planned => ({
      how: "made",
      path: `checkpoints/awake/${volume}`,
      text: JSON.stringify({ state: "lost", why: LOST_WITH_RESTORE, sandbox: "" }),
    }),
  );
  const audit = of("audit").map((path): Planned => ({ how: "lines", path }));
  return { before: [...whole, ...volumes, ...told], after: audit };
}
