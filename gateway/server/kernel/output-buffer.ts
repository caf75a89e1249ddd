/**
 * Text that a sandbox sends in pieces cut anywhere: kept up to a limit, decoded once at the end. Pieces are copied into
 * one buffer: a piece of one byte would keep the whole read that it came in.
 */

/** A UTF-16 unit is at most this many bytes of UTF-8. */
const BYTES_PER_UNIT = 3;

const FIRST_BYTES = 4 * 1024;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class OutputBuffer {
  readonly #limitUnits: number;
  readonly #limitBytes: number;
  #bytes: Buffer = Buffer.alloc(0);
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
    const taken = Math.min(bytes.length, room);
    this.#reserve(this.#kept + taken);
    bytes.copy(this.#bytes, this.#kept, 0, taken);
    this.#kept += taken;
  }

  /** Memory that is held now, in bytes. */
  get capacity(): number {
    return this.#bytes.length;
  }

  /** Bytes that are not UTF-8 become U+FFFD. */
  text(): { readonly text: string; readonly cut: boolean } {
    const bytes = this.#bytes.subarray(0, this.#kept);
    const whole = decoder.decode(bytes);
    if (whole.length <= this.#limitUnits) return { text: whole, cut: this.#received > this.#kept };
    const last = whole.charCodeAt(this.#limitUnits - 1);
    // Half a surrogate pair is no character.
    const end = last >= 0xd800 && last <= 0xdbff ? this.#limitUnits - 1 : this.#limitUnits;
    return { text: whole.slice(0, end), cut: true };
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(
      Math.min(this.#limitBytes, Math.max(bytes, FIRST_BYTES, 2 * this.#bytes.length)),
    );
    this.#bytes.copy(larger, 0, 0, this.#kept);
    this.#bytes = larger;
  }
}
