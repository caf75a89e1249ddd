/** Names by which people and clients call the languages; the image says which of them it has. */

const ALIASES: Readonly<Record<string, string>> = {
  python: "py",
  python3: "py",
  py3: "py",
  javascript: "js",
  node: "js",
  typescript: "ts",
  "c++": "cpp",
  rust: "rs",
  golang: "go",
  fortran: "f90",
  sh: "bash",
  shell: "bash",
};

/** Longest name that is repeated in an error. */
const LONGEST = 32;

export function languageId(name: string): string {
  const lower = name.toLowerCase();
  return Object.hasOwn(ALIASES, lower) ? (ALIASES[lower] ?? lower) : lower.slice(0, LONGEST);
}
