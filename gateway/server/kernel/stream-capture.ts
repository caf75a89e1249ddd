/** Standard output and error of one call, as they come; far too much of either is a violation. */
import { OutputBuffer } from "./output-buffer.ts";
import type { Message, RunLimits, RunRequest } from "./run.ts";
import { Violation } from "./violation.ts";

/** Output beyond its limit is thrown away; this much more, and the supervisor is not ours any more. */
const EXCESS_OUTPUT_BYTES = 8 * 1024 * 1024;
/** Limits count UTF-16 units; no character has more bytes than this for each. */
const BYTES_PER_UNIT = 4;

export class StreamCapture {
  readonly #stdout: OutputBuffer;
  readonly #stderr: OutputBuffer;
  readonly #limits: RunLimits;
  readonly #onStream: RunRequest["onStream"];

  constructor(limits: RunLimits, onStream: RunRequest["onStream"]) {
    this.#limits = limits;
    this.#onStream = onStream;
    this.#stdout = new OutputBuffer(limits.stdout);
    this.#stderr = new OutputBuffer(limits.stderr);
  }

  onStream(message: Message<"stream">, body: Buffer): void {
    const { name } = message.content;
    // The supervisor sends none; they would go on for ever without counting.
    if (body.length === 0) throw new Violation(`an empty piece of ${name}`);
    const buffer = name === "stdout" ? this.#stdout : this.#stderr;
    const limit = this.#limits[name];
    buffer.push(body);
    if (buffer.received > limit * BYTES_PER_UNIT + EXCESS_OUTPUT_BYTES) {
      throw new Violation(`${name} far beyond its limit`);
    }
    this.#onStream?.(name, body);
  }

  text(): { stdout: string; stderr: string; stdoutCut: boolean; stderrCut: boolean } {
    const stdout = this.#stdout.text();
    const stderr = this.#stderr.text();
    return { stdout: stdout.text, stderr: stderr.text, stdoutCut: stdout.cut, stderrCut: stderr.cut };
  }
}
