/** Text for a message: what cannot be seen in it is written as its code point. */
export function visible(text: string): string {
  return text.replaceAll(/\p{C}|(?! )\p{Z}/gu, (character) => `<${codePoint(character)}>`);
}

/** `U+00A0` */
export function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
