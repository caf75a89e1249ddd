/** `npm run check` finds every shell script: one that it does not see is checked by nobody. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { shellScripts } from "../../check-shell.ts";

it("knows scripts by their first line or their name, in any folder of ours", () => {
  const folder = mkdtempSync(join(tmpdir(), "kernelyard-scripts-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of [
    ["run", "#!/usr/bin/env bash\n"],
    ["deep/er/tool", "#!/bin/sh -e\n"],
    ["dash", "#! /bin/dash\n"],
    ["part.sh", "fail() { exit 1; }\n"],
    ["program.py", "#!/usr/bin/env python3\n"],
    ["other", "#!/usr/bin/env fish\n"],
    ["text.md", "Scripts begin with #!/bin/sh\n"],
    ["empty", ""],
    ["node_modules/theirs.sh", "#!/bin/sh\n"],
  ] as const) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const found = shellScripts(folder).map(({ path, shebang }) => [path, shebang]);
  expect(Object.fromEntries(found)).toEqual({
    run: true,
    "deep/er/tool": true,
    dash: true,
    "part.sh": false,
  });
});

it("finds those of this project", () => {
  expect(shellScripts().map(({ path }) => path)).toEqual(
    expect.arrayContaining([
      ".ci/run",
      "gateway/host/install.sh",
      "sandbox-image/profiles/polyglot/bin/compiled",
    ]),
  );
});
