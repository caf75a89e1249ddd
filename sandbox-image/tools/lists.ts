/** What an operator edits: lists of libraries and of packages. Pure. */

/** Words of a list file: one entry a line, `#` starts a comment. */
export const listEntries = (text: string): readonly string[] =>
  text
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");

/** Distribution names of a requirements list, without versions, extras and markers. */
export function distributionNames(requirements: string, file = "rce_requirements.txt"): readonly string[] {
  return listEntries(requirements).map((line) => {
    const name = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/.exec(line)?.[0];
    if (name === undefined) {
      throw new Error(`${file}: \`${line}\` does not name a package; write one package per line.`);
    }
    return name;
  });
}
