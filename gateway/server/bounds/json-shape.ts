/**
 * How wide and how deep a JSON text is, told from its bytes before anything is made of them: a parser makes an object of
 * every two bytes. It checks no grammar; what it lets through is as large as it says, or no JSON.
 */

export interface JsonLimits {
  /** Of the whole text. */
  readonly bytes: number;
  /** Values and members together, at every depth. */
  readonly elements: number;
  readonly depth: number;
}

/** The text cannot be read. `too_large`: it is beyond a limit. The message is for whoever sent it. */
export class Unreadable extends Error {
  override readonly name = "Unreadable";
  readonly code: "bad_request" | "too_large";
  /** True for messages in words that clients know. */
  readonly verbatim: boolean;

  constructor(code: "bad_request" | "too_large", message: string, verbatim = false) {
    super(message);
    this.code = code;
    this.verbatim = verbatim;
  }
}

/** No number or name of JSON's own is longer. */
const LONGEST_TOKEN = 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BYTE = { other: 0, quote: 1, open: 2, close: 3, comma: 4, between: 5 } as const;
const KIND = new Uint8Array(256);
for (const byte of Buffer.from("[{")) KIND[byte] = BYTE.open;
for (const byte of Buffer.from("]}")) KIND[byte] = BYTE.close;
for (const byte of Buffer.from(" \t\r\n:")) KIND[byte] = BYTE.between;
KIND[QUOTE] = BYTE.quote;
KIND[0x2c] = BYTE.comma;

/** Throws `Unreadable` at the first byte that is too much; returns how many elements there are. */
export function measureJson(text: Uint8Array, limits: JsonLimits): number {
  if (text.length > limits.bytes) throw tooLong(limits);
  const { elements: mostElements, depth: mostDepth } = limits;
  let [elements, depth, token] = [1, 0, 0];
  for (let at = 0; at < text.length; at++) {
    switch (KIND[text[at] ?? 0]) {
      case BYTE.quote:
        token = 0;
        for (at += 1; at < text.length && text[at] !== QUOTE; at++) if (text[at] === BACKSLASH) at += 1;
        break;
      case BYTE.open:
        token = 0;
        depth += 1;
        elements += 1;
        if (depth > mostDepth) {
          throw new Unreadable("bad_request", `The body is nested deeper than ${mostDepth} levels`);
        }
        break;
      case BYTE.close:
        token = 0;
        depth -= 1;
        break;
      case BYTE.comma:
        token = 0;
        elements += 1;
        break;
      case BYTE.between:
        token = 0;
        break;
      default:
        token += 1;
        if (token > LONGEST_TOKEN) {
          throw new Unreadable(
            "bad_request",
            `The body has a number of more than ${LONGEST_TOKEN} characters`,
          );
        }
    }
    if (elements > mostElements) {
      throw new Unreadable("too_large", `The body has more than ${mostElements} elements`);
    }
  }
  return elements;
}

export function tooLong({ bytes }: Pick<JsonLimits, "bytes">): Unreadable {
  return new Unreadable("too_large", `The body exceeds ${bytes} bytes`);
}
