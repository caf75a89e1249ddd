/** What an archive says of itself: the head, which is read first, and the manifest, which ends it. */
import { z } from "@hono/zod-openapi";
import type { PartName } from "./layout.ts";

/** Raised when an older Kernelyard could not restore an archive any more. */
export const FORMAT = 1;

export const Head = z.object({
  format: z.number().int(),
  /** Of the Kernelyard that made it. */
  version: z.string().regex(/^\d{1,5}\.\d{1,5}\.\d{1,5}$/),
  made_at: z.string(),
  host: z.string(),
  data_directory: z.string(),
  instance: z.string().regex(/^[A-Za-z0-9_-]{21}$/),
});
export type Head = z.infer<typeof Head>;

/** An entry of the archive, as it lies there. */
export interface Entry {
  readonly path: string;
  /** Of its body in the archive; a sparse file's is its map and its data. */
  readonly bytes: number;
  /** Of that body, hexadecimal. */
  readonly sha256: string;
}

/** One line of the manifest. */
export function lineOf({ path, bytes, sha256 }: Entry): string {
  return JSON.stringify({ path, bytes, sha256 });
}

/** Entries and bytes by part. */
export class Counts {
  readonly #parts = new Map<PartName, { entries: number; bytes: number }>();

  add(part: PartName, bytes: number): void {
    const counted = this.#parts.get(part) ?? { entries: 0, bytes: 0 };
    this.#parts.set(part, { entries: counted.entries + 1, bytes: counted.bytes + bytes });
  }

  entries(part: PartName): number {
    return this.#parts.get(part)?.entries ?? 0;
  }

  get bytes(): number {
    return [...this.#parts.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The manifest's last line. */
  line(): string {
    return JSON.stringify({ counts: Object.fromEntries([...this.#parts].sort()) });
  }
}

/** Why this Kernelyard does not restore such an archive; null when it does. */
export function whyNotReadable(head: Head, own: string): string | null {
  if (head.format > FORMAT || newer(head.version, own)) {
    return `it was made by Kernelyard ${head.version} (format ${head.format}), and this is ${own} (format ${FORMAT}): restore it with that version or a newer one`;
  }
  return null;
}

function newer(version: string, own: string): boolean {
  const [one, other] = [version, own].map((text) => text.split(".").map(Number));
  for (let at = 0; at < 3; at++) {
    const difference = (one?.[at] ?? 0) - (other?.[at] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Where the manifest's lines and those of what was read differ first, for a person; null when they are the same. */
export async function firstDifference(
  said: AsyncIterable<string>,
  found: AsyncIterable<string>,
): Promise<string | null> {
  const [one, other] = [said[Symbol.asyncIterator](), found[Symbol.asyncIterator]()];
  for (;;) {
    const [a, b] = [await one.next(), await other.next()];
    if (a.done === true && b.done === true) return null;
    if (a.done === true || b.done === true || a.value !== b.value) {
      return `the manifest has ${a.done === true ? "nothing more" : a.value.slice(0, 300)}, the archive ${
        b.done === true ? "nothing more" : b.value.slice(0, 300)
      }`;
    }
  }
}
