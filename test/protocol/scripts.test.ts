import { dirname } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { runTwice, scriptNames } from "./scripts.ts";
import { python, Supervised } from "./supervised.ts";

describe("a fresh call means what a script means", () => {
  const sandbox = new Supervised({
    preload: ["numpy", "pandas", "matplotlib.pyplot"],
    env: {
      PATH: `${dirname(python)}:${process.env.PATH}`,
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
    },
  });
  afterAll(() => sandbox[Symbol.asyncDispose]());

  test.each(scriptNames)("%s", async (name) => {
    const { script, call } = await runTwice(sandbox, name);
    expect(call).toEqual(script);
  });
});
