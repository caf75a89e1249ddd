/** What `npm test -- …` asks for: rings, files, and options that Vitest understands. */
import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { isRingName, type Need, RING_NAMES, RINGS, type RingName } from "./rings.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Vitest's options that take the next word as their value. */
const WITH_VALUE = new Set(["-t", "--testNamePattern", "--bail", "--retry", "--reporter"]);

export interface Request {
  readonly rings: readonly RingName[];
  /** Empty: all of the rings. Relative to the project. */
  readonly files: readonly string[];
  readonly options: readonly string[];
  /** The static checks belong to a whole run alone. */
  readonly whole: boolean;
}

export class WrongUse extends Error {}

/** @throws WrongUse with words for the person who typed it. */
export function readRequest(words: readonly string[], from: string): Request {
  const rings = new Set<RingName>();
  const named: RingName[] = [];
  const files: string[] = [];
  const options: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word.startsWith("-")) {
      options.push(word);
      if (WITH_VALUE.has(word)) options.push(words[++at] ?? "");
    } else if (isRingName(word)) {
      rings.add(word);
      named.push(word);
    } else {
      const file = testPath(word, from);
      rings.add(file.ring);
      files.push(file.path);
    }
  }
  // Beside files, a ring is the folder of its own.
  const folders = files.length === 0 ? [] : named.map((ring) => `test/${ring}/`);
  return {
    rings: rings.size === 0 ? RING_NAMES : RING_NAMES.filter((ring) => rings.has(ring)),
    files: [...folders, ...files],
    options,
    whole: words.length === 0,
  };
}

function testPath(word: string, from: string): { readonly path: string; readonly ring: RingName } {
  const found = [resolve(from, word), join(ROOT, word)].find((path) => existsSync(path));
  const path = found === undefined ? "" : relative(ROOT, found);
  const ring = ringOf(path);
  if (ring === null) {
    throw new WrongUse(
      `\`${word}\` is neither a ring (${RING_NAMES.join(", ")}) nor a file or folder of tests, as test/unit/files.`,
    );
  }
  return { path, ring };
}

function ringOf(path: string): RingName | null {
  const [top, ring = ""] = path.split("/");
  return top === "test" && isRingName(ring) ? ring : null;
}

/** What these rings need, each once. */
export function needsOf(rings: readonly RingName[]): Need[] {
  return [...new Set(rings.flatMap((ring): readonly Need[] => RINGS[ring].needs))];
}
