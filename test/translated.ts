/**
 * `npm run translated -- README.ja.md`: says that the translation is that of its original as it stands now, section by section. For whoever has
 * brought it up to date, so it is no part of `npm run generate`. Refuses one whose commands, links, tables or figures are not the original's.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { COPIES } from "./generate.ts";
import { ROOT, readDocument } from "./support/documents.ts";
import {
  differences,
  originalOf,
  recordFor,
  stale,
  translations,
  withoutRecord,
} from "./support/translations.ts";

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function record(file: string): boolean {
  const path = relative(ROOT, resolve(file));
  if (originalOf(path) === null || !existsSync(join(ROOT, path))) {
    say(`${file} is no translation. These are: ${translations().join(", ")}`);
    return false;
  }
  if (COPIES.some((copy) => copy.path === path)) {
    say(`${path} is made by npm run generate; its sentences are in monitoring/ja.ts`);
    return false;
  }
  const differ = differences(path, readDocument);
  for (const line of differ) say(line);
  if (differ.length > 0) return false;
  const changed = stale(path, readDocument).length;
  const text = withoutRecord(readFileSync(join(ROOT, path), "utf8"));
  writeFileSync(join(ROOT, path), `${text.trimEnd()}\n${recordFor(path, readDocument)}`);
  say(`${path}: ${changed === 0 ? "as it was" : `is now that of ${originalOf(path)}`}`);
  return true;
}

const files = process.argv.slice(2);
if (files.length === 0) say("Say which: npm run translated -- README.ja.md");
if (files.length === 0 || !files.map(record).every(Boolean)) process.exitCode = 1;
