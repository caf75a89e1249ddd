/** The layout of the data directory, and who may read which part of it. */
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";

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

export function prepareDataDirectory(root: string, gateway: Owner): DataDirectory {
  const layout = {
    root,
    keys: join(root, "keys"),
    gateway: join(root, "gateway"),
    run: join(root, "run"),
  };
  mkdirSync(root, { recursive: true, mode: 0o755 });
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
