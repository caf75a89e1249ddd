/** Reads a request's JSON: bounded in bytes, in time and in memory before it is read, in shape before it is parsed. */
import type { JsonKind } from "../../bounds/json-reading.ts";
import { type JsonLimits, tooLong, Unreadable } from "../../bounds/json-shape.ts";
import type { AppContext, AppDeps } from "../context.ts";
import { ServiceError } from "../errors.ts";
import { requestBody } from "../web-stream.ts";
import { holdMore } from "./memory.ts";

/** A body of the largest size takes seconds on a slow link. */
const WITHIN_MS = 60_000;
/** What a byte of JSON is held as: itself, the text made of it, and what goes on to the kernel. */
const FACTOR = 3;
const FIRST_BYTES = 16 * 1024;

/** The connection is of no further use: the rest of the body would have to be read. */
const CLOSE = { Connection: "close" };

export function unreadable({ code, message, verbatim }: Unreadable): ServiceError {
  return new ServiceError(code === "too_large" ? "payload_too_large" : code, message, {
    ...(verbatim ? { text: message } : {}),
    ...(code === "too_large" ? { headers: CLOSE } : {}),
  });
}

/** Throws `ServiceError`. */
export async function readBody<T>(c: AppContext, deps: AppDeps, kind: JsonKind<T>): Promise<T> {
  refuseForms(c);
  try {
    const bytes = await receive(c, kind.limits);
    // The reader may hand the bytes to its thread.
    if (deps.fleet !== null && c.get("hop") === undefined) c.set("body", bytes.slice());
    return await deps.json.read(kind, bytes);
  } catch (error) {
    throw error instanceof Unreadable ? unreadable(error) : error;
  }
}

/**
 * Where nobody has to prove who they are, a page that a browser of this network shows could post code as a form or as
 * plain text; for JSON a browser asks first, and gets no leave.
 */
function refuseForms(c: AppContext): void {
  if (c.get("principal").mode !== "none") return;
  const type = c.req.header("content-type")?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (type === "application/json" || type.endsWith("+json")) return;
  throw new ServiceError("bad_request", "`Content-Type` must be application/json", { headers: CLOSE });
}

function declaredBytes(c: AppContext, limits: JsonLimits): number | null {
  const declared = c.req.header("content-length");
  if (declared === undefined) return null;
  const bytes = Number(declared);
  if (!(bytes <= limits.bytes)) throw tooLong(limits);
  return bytes;
}

/** Bytes as they come, in a buffer of their own. */
class Gathering {
  readonly #c: AppContext;
  readonly #limits: JsonLimits;
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(c: AppContext, limits: JsonLimits) {
    const declared = declaredBytes(c, limits);
    if (declared !== null) holdMore(c, declared * FACTOR);
    this.#c = c;
    this.#limits = limits;
    this.#bytes = new Uint8Array(declared ?? FIRST_BYTES);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  add(chunk: Uint8Array): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#limits.bytes) throw tooLong(this.#limits);
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(this.#limits.bytes, Math.max(needed, 2 * this.#bytes.length)));
      holdMore(this.#c, (larger.length - this.#bytes.length) * FACTOR);
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = needed;
  }
}

/** Leaves the source as it is when it stops early: destroying a request cuts the connection, and nobody hears why. */
async function receive(c: AppContext, limits: JsonLimits): Promise<Uint8Array<ArrayBuffer>> {
  const gathering = new Gathering(c, limits);
  const source = requestBody(c);
  const whole = Promise.withResolvers<void>();
  const add = (chunk: Uint8Array) => {
    try {
      gathering.add(chunk);
    } catch (error) {
      whole.reject(error);
    }
  };
  const broken = () => whole.reject(new Unreadable("bad_request", "The body broke off"));
  const end = () => {
    // It closes next, as every request does; an error made for nothing costs more than the body.
    source.off("close", broken);
    whole.resolve();
  };
  const late = setTimeout(() => {
    const message = `The body did not come within ${WITHIN_MS} ms`;
    whole.reject(new ServiceError("request_timeout", message, { headers: CLOSE }));
  }, WITHIN_MS);
  source.on("data", add).once("end", end).once("error", broken).once("close", broken);
  try {
    await whole.promise;
    return gathering.bytes;
  } finally {
    clearTimeout(late);
    source.off("data", add).off("end", end).off("close", broken);
    source.off("error", broken).on("error", () => {});
    source.pause();
  }
}
