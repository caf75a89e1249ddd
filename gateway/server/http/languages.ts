/** Names by which people and clients call the languages, and where each can be had; the image says which of them it has. */

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

export interface KnownLanguage {
  readonly name: string;
  /** Profiles of the sandbox image that have it (`sandbox-image/profiles/`). */
  readonly profiles: readonly string[];
}

const POLYGLOT = ["polyglot"];
const EVERY = ["analyst", "default", "documents", "polyglot"];

/** LibreChat's list, whose code blocks have a button that runs them. */
export const LIBRECHAT_LANGUAGES: Readonly<Record<string, KnownLanguage>> = {
  py: { name: "Python", profiles: EVERY },
  bash: { name: "Bash", profiles: EVERY },
  js: { name: "JavaScript", profiles: POLYGLOT },
  ts: { name: "TypeScript", profiles: POLYGLOT },
  c: { name: "C", profiles: POLYGLOT },
  cpp: { name: "C++", profiles: POLYGLOT },
  java: { name: "Java", profiles: POLYGLOT },
  php: { name: "PHP", profiles: POLYGLOT },
  rs: { name: "Rust", profiles: POLYGLOT },
  go: { name: "Go", profiles: POLYGLOT },
  d: { name: "D", profiles: POLYGLOT },
  f90: { name: "Fortran", profiles: POLYGLOT },
  r: { name: "R", profiles: POLYGLOT },
};

const called = (id: string): string =>
  Object.hasOwn(LIBRECHAT_LANGUAGES, id) ? (LIBRECHAT_LANGUAGES[id]?.name ?? id) : id;

/** What a person is told who runs a block in a language that the image lacks; null: it is no language of LibreChat's. */
export function missingLanguage(id: string, supported: readonly string[]): string | null {
  const known = Object.hasOwn(LIBRECHAT_LANGUAGES, id) ? LIBRECHAT_LANGUAGES[id] : undefined;
  if (known === undefined) return null;
  const profiles = known.profiles.map((profile) => `\`${profile}\``).join(", ");
  return `${known.name} is not in this sandbox's image, which has ${supported.map(called).join(", ")}. The image's profile ${profiles} has it; whoever runs this service can choose it.`;
}
