import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { LIBRECHAT_LANGUAGES } from "../../../gateway/server/http/languages.ts";

const PROFILES = join(import.meta.dirname, "../../../sandbox-image/profiles");
const Declared = z.array(z.looseObject({ id: z.string() }));

describe("LibreChat's languages", () => {
  it("are had by exactly the profiles that declare them", () => {
    const having = new Map<string, string[]>();
    const profiles = readdirSync(PROFILES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of profiles.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const declared = Declared.parse(
        JSON.parse(readFileSync(join(PROFILES, name, "languages.json"), "utf8")),
      );
      for (const { id } of declared) having.set(id, [...(having.get(id) ?? []), name]);
    }
    const told = Object.entries(LIBRECHAT_LANGUAGES).map(([id, { profiles: names }]) => [
      id,
      [...names].sort(),
    ]);
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(having));
  });
});
