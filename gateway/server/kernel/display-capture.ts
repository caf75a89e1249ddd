/** What a call shows while it runs, for whoever looks on; more than was asked for is a violation. */
import type { DisplayRules } from "../../common/protocol/messages.ts";
import type { Message, RunRequest } from "./run.ts";
import { Violation } from "./violation.ts";

/** A larger one is in the reply's files alone. As base64 it fits what waits for a reader. */
export const LARGEST_DISPLAY_BYTES = 96 * 1024;

/** For each call, whatever it shows; its files have the rest. */
export const DISPLAY_RULES: DisplayRules = {
  max_files: 100,
  max_file_bytes: LARGEST_DISPLAY_BYTES,
  max_total_bytes: 4 * 1024 * 1024,
};

export class DisplayCapture {
  readonly #onShown: NonNullable<RunRequest["onShown"]>;
  #count = 0;
  #bytes = 0;

  constructor(onShown: NonNullable<RunRequest["onShown"]>) {
    this.#onShown = onShown;
  }

  onDisplay({ content: { path } }: Message<"display_data">, body: Buffer): void {
    this.#count += 1;
    this.#bytes += body.length;
    const { max_file_bytes, max_files, max_total_bytes } = DISPLAY_RULES;
    if (this.#count > max_files || body.length > max_file_bytes || this.#bytes > max_total_bytes) {
      throw new Violation("more display_data than was asked for");
    }
    this.#onShown(path, body);
  }
}
