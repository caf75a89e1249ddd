/** A bucket in memory: consistent as S3 is, away when a test says so, and it refuses what is not whole. */
import {
  type AuditObjects,
  ObjectChanged,
  type PutOptions,
} from "../../../gateway/server/audit/copy/objects.ts";

export class BucketStandIn implements AuditObjects {
  readonly objects = new Map<string, { readonly text: string; readonly tag: string }>();
  /** Keys in the order of their puts. */
  readonly puts: string[] = [];
  readonly opened: string[] = [];
  readonly dropped: string[] = [];
  away = false;
  /** Answers nothing, until its caller gives up. */
  hangs = false;
  versioned = false;
  conditions = true;
  pageKeys = 2;
  /** Before a put with a condition looks at it. */
  beforeMatch: () => void = () => {};
  /** Before an object is opened. */
  beforeOpen: (key: string) => void = () => {};
  closed = false;
  #tags = 0;

  set(key: string, text: string): void {
    this.#tags += 1;
    this.objects.set(key, { text, tag: `"${this.#tags}"` });
  }

  text(key: string): string | null {
    return this.objects.get(key)?.text ?? null;
  }

  async *list(under: string, { after = "", signal }: { after?: string; signal: AbortSignal }) {
    await this.#answer(signal);
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(under) && key > after).sort();
    for (let at = 0; at < keys.length; at += this.pageKeys) {
      await this.#answer(signal);
      const page = keys.slice(at, at + this.pageKeys);
      yield page.map((key) => ({ key, bytes: Buffer.byteLength(this.text(key) ?? "") }));
    }
  }

  async put(key: string, bytes: AsyncIterable<Uint8Array>, { match, signal }: PutOptions) {
    const parts: Uint8Array[] = [];
    for await (const part of bytes) parts.push(part);
    await this.#answer(signal);
    if (match !== undefined) {
      if (!this.conditions) throw new Error("NotImplemented: If-Match");
      this.beforeMatch();
      if (this.objects.get(key)?.tag !== match) throw new ObjectChanged(key);
    }
    this.set(key, Buffer.concat(parts).toString());
    this.puts.push(key);
    return { versioned: this.versioned };
  }

  async open(key: string, { match, signal }: { match?: string; signal: AbortSignal }) {
    this.beforeOpen(key);
    await this.#answer(signal);
    this.opened.push(key);
    const found = this.objects.get(key);
    if (found === undefined) return null;
    if (match !== undefined && match !== found.tag) throw new ObjectChanged(key);
    const { tag, text } = found;
    const bytes = (async function* () {
      // In small pieces, as a network may have it.
      for (let at = 0; at < text.length; at += 100) yield Buffer.from(text.slice(at, at + 100));
    })();
    return { bytes, tag };
  }

  async dropUnfinished(under: string): Promise<void> {
    this.dropped.push(under);
  }

  close(): void {
    this.closed = true;
  }

  async #answer(signal: AbortSignal): Promise<void> {
    if (this.closed) throw new Error("the client is closed");
    signal.throwIfAborted();
    if (this.hangs) {
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }
    if (this.away) throw new Error("ECONNREFUSED");
  }
}
