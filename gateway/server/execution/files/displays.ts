/** The pictures that a call leaves, for whoever is told of it while it happens: looked at on their way into the store. */
import { PassThrough, type Readable } from "node:stream";
import { contentTypeOf } from "../../files/content-type.ts";
import type { OutputSink } from "../../kernel/run.ts";

/** A larger one is in the reply's files alone. As base64 it fits what waits for a reader. */
export const LARGEST_DISPLAY_BYTES = 96 * 1024;

export interface Display {
  /** As the sandbox has it: unverified text from there. */
  readonly name: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** Tells of each picture once `sink` has it. */
export function withDisplays(sink: OutputSink, onDisplay: (display: Display) => void): OutputSink {
  return {
    async accept(file, body) {
      const mediaType = contentTypeOf(file.path);
      if (!mediaType.startsWith("image/") || file.size > LARGEST_DISPLAY_BYTES) {
        await sink.accept(file, body);
        return;
      }
      const copy: Buffer[] = [];
      await sink.accept(file, copied(body, copy));
      const bytes = Buffer.concat(copy);
      // Where the sink wanted only a part, there is nothing to show.
      if (bytes.length === file.size) onDisplay({ name: file.path, mediaType, bytes });
    },
  };
}

/** At the reader's pace; both fail and end together. */
function copied(body: Readable, copy: Buffer[]): Readable {
  const through = new PassThrough();
  body.on("data", (piece: Buffer) => copy.push(Buffer.from(piece)));
  body.on("error", (error) => through.destroy(error));
  // The sink may have left already.
  through.on("error", () => {});
  through.on("close", () => body.destroy());
  body.pipe(through);
  return through;
}
