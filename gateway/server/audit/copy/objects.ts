/** What a copy of the audit log needs of a bucket. Keys are below the operator's prefix. */

export interface ListedObject {
  readonly key: string;
  readonly bytes: number;
}

export interface OpenObject {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Of this very content. */
  readonly tag: string;
}

export interface PutOptions {
  readonly signal: AbortSignal;
  /** Only in the place of this content. */
  readonly match?: string;
}

/** The object is not what it was when it was read. */
export class ObjectChanged extends Error {
  override readonly name = "ObjectChanged";
}

/** Rejects as the store's client does, and with `ObjectChanged` where there was something to match. */
export interface AuditObjects {
  /** In the order of the keys, a page at a time. */
  list(
    under: string,
    options: { after?: string; signal: AbortSignal },
  ): AsyncIterable<readonly ListedObject[]>;
  /** Whole or not at all; the source waits while a part is sent. `versioned`: what was there before is kept by the bucket. */
  put(key: string, bytes: AsyncIterable<Uint8Array>, options: PutOptions): Promise<{ versioned: boolean }>;
  /** Null when there is no such object. */
  open(key: string, options: { match?: string; signal: AbortSignal }): Promise<OpenObject | null>;
  /** Gives up puts that a killed process has begun. */
  dropUnfinished(under: string, signal: AbortSignal): Promise<void>;
  close(): void;
}
