/**
 * Sparse files in an archive, as GNU tar's PAX format 1.0 has them: a map of where data lies, then the data alone. `tar`
 * unpacks them as well.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { z } from "@hono/zod-openapi";

const run = promisify(execFile);
const BLOCK = 512;
/** Of one file: of more, neighbours are taken together with the hole between them. */
const MOST_EXTENTS = 65_536;
/** Of the program's answer. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export interface Extent {
  readonly at: number;
  readonly bytes: number;
}

const Extents = z.array(z.tuple([z.number().int().min(0), z.number().int().min(1)]));

/** Where a file has data. */
export async function extentsOf(path: string): Promise<Extent[]> {
  const program = join(import.meta.dirname, "extents.py");
  const { stdout } = await run("python3", ["-I", program, path], { maxBuffer: MAX_ANSWER_BYTES });
  return merged(
    Extents.parse(JSON.parse(stdout)).map(([at, bytes]) => ({ at, bytes })),
    MOST_EXTENTS,
  );
}

/** At most so many: with the smallest holes counted as data. Pure. */
export function merged(extents: readonly Extent[], most: number): Extent[] {
  if (extents.length <= most) return [...extents];
  const holes = extents.slice(1).map(({ at }, index) => at - endOf(extents[index]));
  const largest = [...holes].sort((a, b) => b - a)[most - 1] ?? 0;
  const found: Extent[] = [];
  for (const extent of extents) {
    const last = found.at(-1);
    if (last === undefined || extent.at - endOf(last) > largest) found.push(extent);
    else found[found.length - 1] = { at: last.at, bytes: endOf(extent) - last.at };
  }
  return found;
}

function endOf(extent: Extent | undefined): number {
  return extent === undefined ? 0 : extent.at + extent.bytes;
}

/** A file's map, padded to whole blocks. */
export function mapText(extents: readonly Extent[], size: number): Buffer {
  // GNU tar's own end of a map: an empty extent at the file's end.
  const all = [...extents, { at: size, bytes: 0 }];
  const text = `${all.length}\n${all.map(({ at, bytes }) => `${at}\n${bytes}\n`).join("")}`;
  const padded = Math.ceil(text.length / BLOCK) * BLOCK;
  return Buffer.concat([Buffer.from(text, "latin1")], padded);
}

export interface SparseHeader {
  readonly [name: string]: string;
}

export function sparseHeader(path: string, size: number): SparseHeader {
  return {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": path,
    "GNU.sparse.realsize": String(size),
  };
}

/** A file that is no file of ours. */
export class SparseError extends Error {
  override readonly name = "SparseError";
}

/** Reads a body as it comes: first its map, then pieces of data with their places. */
export class SparseReader {
  readonly #size: number;
  #map: Buffer = Buffer.alloc(0);
  #extents: Extent[] | null = null;
  #index = 0;
  /** Bytes of the present extent that are there already. */
  #done = 0;

  /** `size`: of the whole file. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Throws `SparseError`. */
  read(chunk: Buffer): { readonly at: number; readonly data: Buffer }[] {
    let data = chunk;
    if (this.#extents === null) {
      this.#map = Buffer.concat([this.#map, data]);
      const parsed = parseMap(this.#map, this.#size);
      if (parsed === null) return [];
      this.#extents = parsed.extents;
      data = this.#map.subarray(parsed.bytes);
      this.#map = Buffer.alloc(0);
    }
    const pieces: { at: number; data: Buffer }[] = [];
    while (data.length > 0) {
      const extent = this.#extents[this.#index];
      if (extent === undefined) throw new SparseError("a sparse file has more data than its map says");
      const piece = data.subarray(0, extent.bytes - this.#done);
      pieces.push({ at: extent.at + this.#done, data: piece });
      this.#done += piece.length;
      data = data.subarray(piece.length);
      if (this.#done < extent.bytes) continue;
      this.#index += 1;
      this.#done = 0;
    }
    return pieces;
  }

  /** Throws `SparseError` when data is missing. */
  end(): void {
    if (this.#extents === null || this.#index < this.#extents.length) {
      throw new SparseError("a sparse file has less data than its map says");
    }
  }
}

/** Null: more of it is to come. Throws `SparseError`. */
function parseMap(text: Buffer, size: number): { extents: Extent[]; bytes: number } | null {
  let at = 0;
  const number = (): number | null => {
    const end = text.indexOf(10, at);
    if (end < 0) {
      if (text.length - at > 20) throw new SparseError("a sparse file has no map");
      return null;
    }
    const digits = text.toString("latin1", at, end);
    if (!/^\d{1,16}$/.test(digits)) throw new SparseError("a sparse file has no map");
    at = end + 1;
    return Number(digits);
  };
  const count = number();
  if (count === null) return null;
  if (count > MOST_EXTENTS + 1) throw new SparseError("a sparse file has too many parts");
  const extents: Extent[] = [];
  let end = 0;
  for (let index = 0; index < count; index++) {
    const [from, bytes] = [number(), number()];
    if (from === null || bytes === null) return null;
    if (from < end || from + bytes > size) throw new SparseError("a sparse file's map is in no order");
    end = from + bytes;
    if (bytes > 0) extents.push({ at: from, bytes });
  }
  const padded = Math.ceil(at / BLOCK) * BLOCK;
  return text.length < padded ? null : { extents, bytes: padded };
}
