/** What a call shows, and the pictures that it leaves, for whoever is told of it while it happens. */
import { createHash } from "node:crypto";
import { PassThrough, type Readable } from "node:stream";
import { contentTypeOf } from "../../files/content-type.ts";
import { LARGEST_DISPLAY_BYTES } from "../../kernel/display-capture.ts";
import type { OutputSink } from "../../kernel/run.ts";

export interface Display {
  /** As the sandbox has it: unverified text from there. */
  readonly name: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** `tell` says whether it was taken; what was is not told again unless it has changed. */
export class Displays {
  readonly #tell: (display: Display) => boolean;
  /** Digest of what was told last, by name. */
  readonly #told = new Map<string, string>();

  constructor(tell: (display: Display) => boolean) {
    this.#tell = tell;
  }

  /** While the code runs. */
  readonly shown = (name: string, bytes: Buffer): void => {
    const digest = createHash("sha256").update(bytes).digest("base64");
    if (this.#told.get(name) === digest) return;
    if (this.#tell({ name, mediaType: contentTypeOf(name), bytes })) this.#told.set(name, digest);
  };

  /** Pictures on their way into the store, told of once `sink` has them. */
  watch(sink: OutputSink): OutputSink {
    return {
      accept: async (file, body) => {
        if (!contentTypeOf(file.path).startsWith("image/") || file.size > LARGEST_DISPLAY_BYTES) {
          await sink.accept(file, body);
          return;
        }
        const copy: Buffer[] = [];
        await sink.accept(file, copied(body, copy));
        const bytes = Buffer.concat(copy);
        // Where the sink wanted only a part, there is nothing to show.
        if (bytes.length === file.size) this.shown(file.path, bytes);
      },
    };
  }
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
