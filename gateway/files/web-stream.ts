/** Between Node's streams and the web's, with back-pressure counted in chunks that were asked for. */
import { Readable } from "node:stream";

/** A request's body as Node's stream; empty when there is none. */
export function fromWebBody(body: ReadableStream<Uint8Array> | null): Readable {
  return body ? Readable.fromWeb(body, { highWaterMark: 256 * 1024 }) : Readable.from([]);
}

/** Reads a chunk only when one is asked for; destroys the source when the client goes away. */
export function toWebStream(source: Readable): ReadableStream<Uint8Array<ArrayBuffer>> {
  const chunks: AsyncIterator<Uint8Array<ArrayBuffer>> = source[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const next = await chunks.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      },
      cancel() {
        source.destroy();
      },
    },
    { highWaterMark: 0 },
  );
}
