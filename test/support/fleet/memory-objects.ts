/** In the place of a bucket, for tests of what saves sessions' files. As strict: what is cut off on its way is not there. */

import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { WorkspaceObjects } from "../../../gateway/server/fleet/workspaces.ts";

export class MemoryObjects implements WorkspaceObjects {
  readonly objects = new Map<string, Buffer>();
  /** It does not answer. */
  away = false;
  swept = 0;

  async put(key: string, bytes: AsyncIterable<Uint8Array>): Promise<number> {
    const whole = await buffer(Readable.from(bytes));
    this.#answer();
    this.objects.set(key, whole);
    return whole.length;
  }

  async get(key: string): Promise<Readable | null> {
    this.#answer();
    const found = this.objects.get(key);
    return found === undefined ? null : Readable.from([found]);
  }

  async newestUnder(prefix: string): Promise<string | null> {
    this.#answer();
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).at(-1) ?? null;
  }

  async delete(key: string): Promise<void> {
    this.#answer();
    this.objects.delete(key);
  }

  async deleteUnder(prefix: string): Promise<void> {
    this.#answer();
    for (const key of this.objects.keys()) if (key.startsWith(prefix)) this.objects.delete(key);
  }

  async sweep(): Promise<void> {
    this.#answer();
    this.swept += 1;
  }

  #answer(): void {
    if (this.away) throw new Error("the bucket does not answer");
  }
}
