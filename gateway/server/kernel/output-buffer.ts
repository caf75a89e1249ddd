/** Text that a sandbox sends in pieces cut anywhere: kept up to a limit, decoded once at the end. */

/** A UTF-16 unit is at most this many bytes of UTF-8. */
const BYTES_PER_UNIT = 3;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class OutputBuffer {
  readonly #limitUnits: number;
  readonly #limitBytes: number;
  #chunks: Buffer[] = [];
  #kept = 0;
  #received = 0;

  /** `limitUnits`: UTF-16 units, as LibreChat's reference counts. */
  constructor(limitUnits: number) {
    this.#limitUnits = limitUnits;
    this.#limitBytes = limitUnits * BYTES_PER_UNIT;
  }

  /** Bytes that came, kept or not. */
  get received(): number {
    return this.#received;
  }

  push(bytes: Buffer): void {
    this.#received += bytes.length;
    const room = this.#limitBytes - this.#kept;
    if (room <= 0) return;
    const kept = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#chunks.push(kept);
    this.#kept += kept.length;
  }

  /** Bytes that are not UTF-8 become U+FFFD. */
  text(): { readonly text: string; readonly cut: boolean } {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
    const whole = decoder.decode(bytes);
    if (whole.length <= this.#limitUnits) return { text: whole, cut: this.#received > this.#kept };
    const last = whole.charCodeAt(this.#limitUnits - 1);
    // Half a surrogate pair is no character.
    const end = last >= 0xd800 && last <= 0xdbff ? this.#limitUnits - 1 : this.#limitUnits;
    return { text: whole.slice(0, end), cut: true };
  }
}
