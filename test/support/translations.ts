/**
 * What a translated document owes its original: the same sections with the same commands, links, tables, names and figures, and a record
 * of what each section of the original said when it was translated. The prose itself is the translator's.
 */
import { createHash } from "node:crypto";
import { dirname, join, normalize } from "node:path";
import { filesBelow } from "./documents.ts";

/** Reads a document by its path in the project. */
export type Read = (path: string) => string;

interface Section {
  readonly level: number;
  readonly title: string;
  /** Below its heading, up to the next one of any level. */
  readonly body: string;
}

const TRANSLATED = /^(?:(README)\.ja|docs\/ja\/(.+))\.md$/;
const HEADING = /^(#{1,6}) (.+)$/;
const FENCE = /^```/;
const BLOCKS = /^```[\s\S]*?^```$/gm;
const RECORD = /\n<!-- translated from [\s\S]*?-->\n$/;
const DIGITS = 12;

/** Null: the document is no translation. */
export function originalOf(path: string): string | null {
  const match = TRANSLATED.exec(path);
  if (match === null) return null;
  return match[1] === undefined ? `docs/${match[2]}.md` : `${match[1]}.md`;
}

export const translations = (): string[] => filesBelow().filter((path) => originalOf(path) !== null);

function sections(text: string): Section[] {
  const found: { level: number; title: string; body: string }[] = [];
  let inBlock = false;
  for (const line of text.replace(RECORD, "\n").split("\n")) {
    if (FENCE.test(line)) inBlock = !inBlock;
    const heading = inBlock ? null : HEADING.exec(line);
    const last = found.at(-1);
    if (heading !== null) found.push({ level: heading[1]?.length ?? 0, title: heading[2] ?? "", body: "" });
    else if (last !== undefined) last.body += `${line}\n`;
  }
  return found;
}

/** As GitHub makes it of a heading. */
const anchorOf = (title: string) =>
  title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
    .replaceAll(" ", "-");

const matches = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, one = ""]) => one);
const distinct = (all: readonly string[]) => [...new Set(all)].sort();

/** The document that a link leads to, by its original's name, and the number of the section there where the anchor is a heading's. */
function destination(link: string, document: string, read: Read): string {
  if (/^(?:https?|mailto):/.test(link)) return link;
  const [file = "", anchor] = link.split("#");
  const target = file === "" ? document : normalize(join(dirname(document), file));
  const name = originalOf(target) ?? target;
  if (anchor === undefined) return name;
  const at = sections(read(target)).findIndex(({ title }) => anchorOf(title) === anchor);
  return at < 0 ? `${name}#${anchor}, where no heading is` : `${name}, section ${at + 1}`;
}

const tablesOf = (prose: string) =>
  [...prose.matchAll(/(?:^\|.*\n)+/gm)].map(([table]) => {
    const rows = table.trimEnd().split("\n");
    const columns = (rows[0] ?? "").replaceAll("\\|", "").split("|").length - 2;
    return `${rows.length} lines of ${columns} columns`;
  });

/** What both have to have alike, each part by the name that a message gives it. */
function likeness(
  { body, level }: Section,
  document: string,
  read: Read,
): Readonly<Record<string, readonly string[]>> {
  const prose = body.replaceAll(BLOCKS, "");
  const code = matches(prose, /`([^`]+)`/g).map((one) => one.replaceAll(/\s+/g, " "));
  const bare = prose.replaceAll(/`[^`]+`/g, "");
  return {
    "level of its heading": [String(level)],
    "code blocks": body.match(BLOCKS) ?? [],
    "names in code": distinct(code),
    links: matches(bare, /\]\(([^)\s]+)\)/g)
      .map((link) => destination(link, document, read))
      .sort(),
    tables: tablesOf(prose),
    "items of lists": [String(bare.match(/^\s*(?:[-*]|\d+\.) /gm)?.length ?? 0)],
  };
}

/** A translation may write a numeral where the original has a word, not the other way round. */
function numerals({ title, body }: Section): string[] {
  const prose = body.replaceAll(BLOCKS, "").replaceAll(/`[^`]+`|\]\([^)]*\)/g, "");
  return distinct(matches(`${title}\n${prose}`, /(\d+(?:[.,]\d+)*)/g));
}

const quoted = (all: readonly string[]) =>
  all.length === 0 ? "none" : all.map((one) => JSON.stringify(one)).join(", ");

/** In what the translation's form differs from the original's; each line names the section. */
export function differences(path: string, read: Read): string[] {
  const original = originalOf(path);
  if (original === null) throw new Error(`${path} is no translation: README.ja.md and docs/ja/ are`);
  const [theirs, ours] = [sections(read(original)), sections(read(path))];
  if (theirs.length !== ours.length) {
    const titles = theirs.map(({ title }) => title);
    return [`${path} has ${ours.length} sections, ${original} has ${theirs.length}: ${quoted(titles)}`];
  }
  return theirs.flatMap((section, index) => {
    const translated = ours[index] ?? section;
    const [wanted, had] = [likeness(section, original, read), likeness(translated, path, read)];
    const where = `${path}, "${translated.title}" ("${section.title}" in ${original})`;
    const found = Object.entries(wanted).flatMap(([what, list]) => {
      const present = had[what] ?? [];
      if (JSON.stringify(list) === JSON.stringify(present)) return [];
      const missing = list.filter((one) => !present.includes(one));
      const surplus = present.filter((one) => !list.includes(one));
      return [
        `${where}: ${what} differ; missing: ${quoted(missing)}; not in the original: ${quoted(surplus)}`,
      ];
    });
    const lost = numerals(section).filter((one) => !numerals(translated).includes(one));
    return lost.length === 0 ? found : [...found, `${where}: figures are missing: ${lost.join(", ")}`];
  });
}

const digest = ({ level, title, body }: Section) =>
  createHash("sha256").update(`${level} ${title}\n${body.trim()}`).digest("hex").slice(0, DIGITS);

/** What a translator leaves at the end of a translation: which text each section was made from. */
export function recordFor(path: string, read: Read): string {
  const original = originalOf(path) ?? path;
  const lines = sections(read(original)).map((section) => `${digest(section)} ${section.title}`);
  return `\n<!-- translated from ${original}; written by: npm run translated -- ${path}\n${lines.join("\n")}\n-->\n`;
}

export const withoutRecord = (text: string): string => text.replace(RECORD, "\n");

/** Sections of the original that are no longer what was translated. */
export function stale(path: string, read: Read): string[] {
  const original = originalOf(path) ?? path;
  const record = RECORD.exec(read(path))?.[0];
  const then = `Bring the section up to date, then: npm run translated -- ${path}`;
  if (record === undefined) return [`${path} does not say what it was translated from. ${then}`];
  const known = new Set(matches(record, /^([0-9a-f]{12} .+)$/gm));
  return sections(read(original))
    .filter((section) => !known.has(`${digest(section)} ${section.title}`))
    .map(({ title }) => `"${title}" of ${original} has changed since ${path} was translated. ${then}`);
}
