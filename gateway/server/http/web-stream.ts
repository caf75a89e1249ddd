/** Between Node's streams and the web's, with back-pressure counted in chunks that were asked for. */
import { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { Context } from "hono";
import { countTransfer } from "../../common/transfer-memory.ts";

/** Node's side of the request; null when it is not served by Node. */
export function incomingOf(c: Context): IncomingMessage | null {
  const bindings: unknown = c.env;
  if (typeof bindings !== "object" || bindings === null || !("incoming" in bindings)) return null;
  return bindings.incoming instanceof IncomingMessage ? bindings.incoming : null;
}

/**
 * A request's body as Node's stream; empty when there is none. Served by Node, that is the connection's own stream:
 * the detour over a web stream copies every byte.
 */
export function requestBody(c: Context): Readable {
  const incoming = incomingOf(c);
  if (incoming !== null) return incoming;
  const { body } = c.req.raw;
  return body ? Readable.fromWeb(body) : Readable.from([]);
}

/**
 * Reads a chunk only when one is asked for; destroys the source when the client goes away. `cutOff` breaks the client's connection when the
 * source breaks; without it the stream fails, and its reader says so.
 */
export function toWebStream(
  source: Readable,
  cutOff: (() => void) | null = null,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const chunks: AsyncIterator<Uint8Array<ArrayBuffer>> = source[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const next = await chunks.next().catch((error: unknown) => {
          if (cutOff === null) throw error;
          cutOff();
        });
        // Nobody reads on.
        if (next === undefined) return;
        if (next.done) controller.close();
        else {
          countTransfer(next.value.length);
          controller.enqueue(next.value);
        }
      },
      cancel() {
        source.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}
