/** JSON bodies: bounded one by one and all together, never logged. */
import type { Context } from "hono";
import { ServiceError } from "./errors.ts";

/** What LibreChat's reference accepts. */
export const MAX_JSON_BYTES = 50 * 1024 * 1024;
/** Bodies of all calls that run now. */
const BUDGET_BYTES = 512 * 1024 * 1024;
/** Smaller ones are not counted. */
const SMALL_BYTES = 256 * 1024;
const RETRY_AFTER_S = 2;

const tooLarge = () =>
  new ServiceError("payload_too_large", `The body exceeds ${MAX_JSON_BYTES} bytes`, {
    headers: { Connection: "close" },
  });

/** Memory that request bodies may hold together. */
export class BodyBudget {
  readonly #limit: number;
  #held = 0;

  constructor(limit: number = BUDGET_BYTES) {
    this.#limit = limit;
  }

  /** Returns how to give it back. Throws 429 when too much is held. */
  hold(bytes: number): () => void {
    if (bytes <= SMALL_BYTES) return () => {};
    if (this.#held + bytes > this.#limit) {
      throw new ServiceError("rate_limited", "Too many large requests at the same time", {
        retryAfterSeconds: RETRY_AFTER_S,
      });
    }
    this.#held += bytes;
    return () => {
      this.#held -= bytes;
    };
  }
}

/** Declared length in bytes; the limit where the body comes in chunks. */
export function bodyBytes(c: Context): number {
  const declared = c.req.header("content-length");
  if (declared === undefined) return MAX_JSON_BYTES;
  const bytes = Number(declared);
  if (!(bytes <= MAX_JSON_BYTES)) throw tooLarge();
  return bytes;
}

async function readChunked(body: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of body) {
    total += chunk.length;
    if (total > MAX_JSON_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total).toString("utf8");
}

export async function readJson(c: Context): Promise<unknown> {
  bodyBytes(c);
  const { raw } = c.req;
  const chunked = c.req.header("content-length") === undefined;
  const text = chunked ? (raw.body === null ? "" : await readChunked(raw.body)) : await raw.text();
  if (text === "") throw new ServiceError("bad_request", "The body is empty; send a JSON object");
  try {
    return JSON.parse(text);
  } catch {
    throw new ServiceError("bad_request", "The body is not JSON");
  }
}
