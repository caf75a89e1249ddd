/** The scripts that the deployment sends somewhere: whole files, read by a shell, filled in by name. */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { script } from "../../../infra/parts/script.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SCRIPTS = globSync("{infra,gateway/image}/**/*.sh", { cwd: ROOT }).sort();

describe("scripts", () => {
  it.each(SCRIPTS)("%s is one to the shell that runs it", (name) => {
    const text = readFileSync(join(ROOT, name), "utf8");
    const shell = /^#!\/bin\/(sh|bash)\n|^# shellcheck shell=(bash)\n/.exec(text);
    expect(shell, "names its shell in its first line").not.toBeNull();
    const read = spawnSync(shell?.[1] ?? shell?.[2] ?? "sh", ["-n"], { input: text, encoding: "utf8" });
    expect(read).toMatchObject({ status: 0, stderr: "" });
  });

  it("bring their values through every shell as they are", () => {
    const folder = "/var/lib/it's a $(folder)";
    const text = script(join(ROOT, "infra/services/leftovers.sh"), { WHAT: "data", FOLDER: folder });
    const shown = `${text.slice(0, text.indexOf("\nset -eu"))}\nprintf %s "$FOLDER"`;
    expect(spawnSync("sh", ["-c", shown], { encoding: "utf8" }).stdout).toBe(folder);
    expect(text).not.toMatch(/^ *#/m);
  });

  it("stop before they do anything when a value is missing", () => {
    const text = script(join(ROOT, "infra/services/leftovers.sh"), { WHAT: "data" });
    const run = spawnSync("sh", ["-c", text], { encoding: "utf8" });
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain("FOLDER");
  });
});
