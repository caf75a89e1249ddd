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

  /** This request's part of it. */
  share(): BodyShare {
    let mine = 0;
    return {
      grow: (bytes) => {
        if (this.#held + bytes > this.#limit) {
          throw new ServiceError("rate_limited", "Too many large requests at the same time", {
            retryAfterSeconds: RETRY_AFTER_S,
          });
        }
        this.#held += bytes;
        mine += bytes;
      },
      release: () => {
        this.#held -= mine;
        mine = 0;
      },
    };
  }
}

export interface BodyShare {
  /** Throws 429 when too much is held. */
  grow(bytes: number): void;
  release(): void;
}

const SHARES = new WeakMap<Request, BodyShare>();

/** Counts this request's body from now on: at once where its length is declared, else as it comes. */
export function countBody(c: Context, share: BodyShare): void {
  SHARES.set(c.req.raw, share);
  const bytes = declaredBytes(c);
  if (bytes !== null && bytes > SMALL_BYTES) share.grow(bytes);
}

function declaredBytes(c: Context): number | null {
  const declared = c.req.header("content-length");
  if (declared === undefined) return null;
  const bytes = Number(declared);
  if (!(bytes <= MAX_JSON_BYTES)) throw tooLarge();
  return bytes;
}

async function readChunked(request: Request): Promise<string> {
  if (request.body === null) return "";
  const share = SHARES.get(request);
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body) {
    total += chunk.length;
    if (total > MAX_JSON_BYTES) throw tooLarge();
    share?.grow(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total).toString("utf8");
}

export async function readJson(c: Context): Promise<unknown> {
  const { raw } = c.req;
  const text = declaredBytes(c) === null ? await readChunked(raw) : await raw.text();
  if (text === "") throw new ServiceError("bad_request", "The body is empty; send a JSON object");
  try {
    return JSON.parse(text);
  } catch {
    throw new ServiceError("bad_request", "The body is not JSON");
  }
}
