/** Text for a POSIX shell. Pure. */

/** One word, whatever is in it. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export const commandLine = (words: readonly string[]): string => words.map(quote).join(" ");
