/** The layout of the data directory, and who may read which part of it. */
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export interface DataDirectory {
  readonly root: string;
  /** Secrets: root only. */
  readonly keys: string;
  /** The gateway's own: files and their records. */
  readonly gateway: string;
  /** Sockets: root and the gateway's group. */
  readonly run: string;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Where `npm run restore` works, below the root, until all is in its place. */
export const RESTORING = ".restoring";

/** The directory has a part of what it is to have. */
export class UnfinishedRestore extends Error {
  override readonly name = "UnfinishedRestore";
}

/** Throws `UnfinishedRestore`, or as `node:fs` does. */
export function prepareDataDirectory(root: string, gateway: Owner): DataDirectory {
  const layout = {
    root,
    keys: join(root, "keys"),
    gateway: join(root, "gateway"),
    run: join(root, "run"),
  };
  if (existsSync(join(root, RESTORING))) {
    throw new UnfinishedRestore(
      `A restore into ${root} was not finished. Run \`npm run restore -- SRC\` again: it goes on, or begins anew.`,
    );
  }
  makeEnterable(root);
  const entries = [
    { path: layout.keys, uid: 0, gid: 0, mode: 0o700 },
    { path: layout.gateway, uid: gateway.uid, gid: gateway.gid, mode: 0o700 },
    { path: layout.run, uid: 0, gid: gateway.gid, mode: 0o750 },
  ];
  for (const entry of entries) {
    mkdirSync(entry.path, { recursive: true });
    chownSync(entry.path, entry.uid, entry.gid);
    chmodSync(entry.path, entry.mode);
  }
  return layout;
}

/**
 * The gateway enters it as a user of its own, and each part says who may read it. A umask of 077 would keep it out, and so
 * would a directory that was made under one.
 */
function makeEnterable(root: string): void {
  const leaf = resolve(root);
  const first = mkdirSync(leaf, { recursive: true });
  if (first === undefined) {
    chmodSync(leaf, (statSync(leaf).mode & 0o7777) | 0o011);
    return;
  }
  const made = [leaf];
  for (let path = leaf; path !== resolve(first); path = dirname(path)) made.push(dirname(path));
  for (const path of made) chmodSync(path, 0o755);
}
