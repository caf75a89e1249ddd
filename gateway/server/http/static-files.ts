/** Files of this service and of its packages, as a browser asks for them: a closed list, read once, from no other host. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { extname } from "node:path";
import type { Context } from "hono";

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

const { resolve } = createRequire(import.meta.url);

/** A file of an installed package. */
export const ofPackage = (path: string): string => resolve(path);

interface Content {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly etag: string;
}

export class StaticFiles {
  readonly #paths: ReadonlyMap<string, string>;
  readonly #read = new Map<string, Promise<Content>>();

  /** `paths`: where each name's file is. */
  constructor(paths: Readonly<Record<string, string>>) {
    this.#paths = new Map(Object.entries(paths));
  }

  /** Null: no such name. Rejects where the installation lacks the file. */
  async answer(c: Context, name: string): Promise<Response | null> {
    const path = this.#paths.get(name);
    if (path === undefined) return null;
    const { bytes, etag } = await this.#content(name, path);
    c.header("ETag", etag);
    c.header("Cache-Control", "no-cache");
    c.header("X-Content-Type-Options", "nosniff");
    if (c.req.header("if-none-match") === etag) return c.body(null, 304);
    return c.body(bytes, 200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" });
  }

  #content(name: string, path: string): Promise<Content> {
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const read = readFile(path).then((buffer) => ({
      bytes: new Uint8Array(buffer),
      etag: `"${createHash("sha256").update(buffer).digest("base64url").slice(0, 22)}"`,
    }));
    this.#read.set(name, read);
    read.catch(() => this.#read.delete(name));
    return read;
  }
}
