/** A translation says what its original says now: held by the form of both, and by a record of what was translated. */
import { describe, expect, it } from "vitest";
import { COPIES } from "../../generate.ts";
import { readDocument } from "../../support/documents.ts";
import { differences, recordFor, stale, translations } from "../../support/translations.ts";

const MADE = COPIES.map(({ path }) => path);

it("there are those that the project promises", () => {
  expect(translations().sort()).toEqual([
    "README.ja.md",
    "docs/ja/deploy.md",
    "docs/ja/first-run-aws.md",
    "docs/ja/runbooks.md",
  ]);
});

describe.each(translations())("%s", (path) => {
  it("has the original's sections, commands, links, tables, names and figures", () =>
    expect(differences(path, readDocument)).toEqual([]));

  // What is made of a table is current by its own test, and complete by the type of its sentences.
  if (!MADE.includes(path))
    it("is of the original as it stands", () => expect(stale(path, readDocument)).toEqual([]));
});

describe("what is noticed", () => {
  const ORIGINAL = [
    "# One",
    "",
    "[日本語](README.ja.md) Takes 25 minutes, see [below](#two) and [settings](docs/settings.md).",
    "",
    "## Two",
    "",
    "```sh",
    "# no heading",
    "npm start",
    "```",
    "",
    "| `a` | b |",
    "|---|---|",
    "| c | d |",
    "",
    "- Set `KERNELYARD_PORT`.",
    "",
  ].join("\n");
  const JAPANESE = [
    "# いち",
    "",
    "[English](README.md) 25 分かかります。[下](#その-2)と[設定](docs/settings.md)を見てください。",
    "",
    "## その 2",
    "",
    "```sh",
    "# no heading",
    "npm start",
    "```",
    "",
    "| `a` | い |",
    "|---|---|",
    "| う | え |",
    "",
    "- `KERNELYARD_PORT` を設定します。",
    "",
  ].join("\n");

  const reading = (original: string, translation: string) => (path: string) => {
    if (path === "README.md") return original;
    if (path === "README.ja.md") return translation;
    throw new Error(`nobody has ${path}`);
  };
  const recorded = JAPANESE + recordFor("README.ja.md", reading(ORIGINAL, JAPANESE));

  it("nothing, where both say the same", () => {
    expect(differences("README.ja.md", reading(ORIGINAL, recorded))).toEqual([]);
    expect(stale("README.ja.md", reading(ORIGINAL, recorded))).toEqual([]);
  });

  it("the section of the original that has changed, by its name", () => {
    const changed = ORIGINAL.replace("Takes 25", "Lasts 25");
    expect(stale("README.ja.md", reading(changed, recorded))).toEqual([
      '"One" of README.md has changed since README.ja.md was translated. Bring the section up to date, then: npm run translated -- README.ja.md',
    ]);
    expect(stale("README.ja.md", reading(ORIGINAL, JAPANESE))).toHaveLength(1);
  });

  it.each([
    ["a command", "npm start", "npm  start", /"その 2" .*code blocks differ; missing: .*npm start/],
    ["a name", "`KERNELYARD_PORT` を", "ポートを", /names in code differ; missing: "KERNELYARD_PORT"/],
    ["a link", "docs/settings.md", "docs/metrics.md", /links differ; missing: "docs\/settings.md"/],
    ["an anchor", "#その-2", "#two", /README.md#two, where no heading is/],
    ["a row", "| う | え |\n", "", /tables differ; missing: "3 lines of 2 columns"/],
    ["a column", "| `a` | い |", "| `a` |", /tables differ/],
    ["an item", "- `KERN", "`KERN", /items of lists differ/],
    ["a figure", "25 分", "20 分", /figures are missing: 25/],
    ["a level", "## その 2", "### その 2", /level of its heading differ/],
    ["a section", "## その 2", "その 2", /has 1 sections, README.md has 2: "One", "Two"/],
  ])("%s that differs", (_, from, to, message) => {
    const broken = recorded.replace(from, to);
    expect(broken).not.toBe(recorded);
    expect(differences("README.ja.md", reading(ORIGINAL, broken))).toEqual([expect.stringMatching(message)]);
  });
});
