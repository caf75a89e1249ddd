import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { LIBRECHAT_LANGUAGES } from "../../../gateway/server/http/languages.ts";
import { profileFile, profileNames } from "../../../sandbox-image/tools/profiles.ts";

const Declared = z.array(z.looseObject({ id: z.string() }));

describe("LibreChat's languages", () => {
  it("are had by exactly the profiles that declare them", () => {
    const having = new Map<string, string[]>();
    for (const name of profileNames()) {
      const declared = Declared.parse(JSON.parse(readFileSync(profileFile(name, "languages.json"), "utf8")));
      for (const { id } of declared) having.set(id, [...(having.get(id) ?? []), name]);
    }
    const told = Object.entries(LIBRECHAT_LANGUAGES).map(([id, { profiles: names }]) => [
      id,
      [...names].sort(),
    ]);
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(having));
  });
});
