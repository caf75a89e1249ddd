/** The checkpoint runtime with a runsc of the test's own, which says what it was asked; nothing else is replaced. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { CHECKPOINT_NOTES } from "../../../gateway/host/isolation.ts";
import { CheckpointNotes } from "../../../gateway/launcher/checkpoints/notes.ts";

const SCRIPT = readFileSync(join(import.meta.dirname, "../../../gateway/host/checkpoint-runtime.sh"), "utf8");
const ID = "0123456789abcdef".repeat(4);
const OPTIONS = ["--platform=systrap", "--root", "/run/a root", "--log-format", "json"];

const directory = mkdtempSync(join(tmpdir(), "checkpoint-runtime-"));
const notesDirectory = join(directory, "notes");
const runtime = join(directory, "runtime");
const failing = join(directory, "restore-fails");
const notes = new CheckpointNotes(notesDirectory);
afterAll(() => rmSync(directory, { recursive: true }));

beforeEach(() => {
  rmSync(notesDirectory, { recursive: true, force: true });
  rmSync(failing, { force: true });
  notes.prepare();
  const runsc = join(directory, "runsc");
  writeFileSync(
    runsc,
    `#!/bin/sh\nfor word in "$@"; do printf '<%s>' "$word"; done\necho\ncase "$*" in *" restore "*) [ ! -e ${failing} ] ;; esac\n`,
  );
  writeFileSync(runtime, SCRIPT.replace("@RUNSC@", runsc).replace(CHECKPOINT_NOTES, notesDirectory));
  for (const file of [runsc, runtime]) chmodSync(file, 0o755);
});

/** One line per call of runsc. */
function run(...words: string[]): string[] {
  return execFileSync(runtime, words, { encoding: "utf8" }).trimEnd().split("\n");
}

const words = (...list: readonly string[]) => list.map((word) => `<${word}>`).join("");

describe("without a note it is runsc", () => {
  test.each([
    [["--version"]],
    [[...OPTIONS, "create", "--bundle", "/a b", ID]],
    [[...OPTIONS, "start", ID]],
    [[...OPTIONS, "kill", ID, "18"]],
    [[...OPTIONS, "kill", "--all", ID, "9"]],
    [[...OPTIONS, "start", "not-an-id"]],
  ])("%s", (given) => {
    expect(run(...given)).toEqual([words(...given)]);
  });
});

test("the launcher and the script look for notes in the same place", () => {
  expect(SCRIPT).toContain(`NOTES=${CHECKPOINT_NOTES}\n`);
});

test("a start with a note restores, with the quota lifted, once", () => {
  const quota = join(directory, "cpu quota");
  writeFileSync(quota, "50000");
  writeFileSync(
    join(notesDirectory, ID),
    `restore /check points/x\nunlimited-v1 ${quota}\nunlimited-v2 ${join(directory, "no-such-cgroup")}\n`,
  );
  const restore = ["restore", "--detach", "--background", "--image-path", "/check points/x"];
  expect(run(...OPTIONS, "start", ID)).toEqual([words(...OPTIONS, ...restore, ID)]);
  expect(readFileSync(quota, "utf8")).toBe("-1\n");
  expect(existsSync(join(directory, "no-such-cgroup"))).toBe(false);
  expect(notes.taken(ID)).toBe(true);
  expect(run(...OPTIONS, "start", ID)).toEqual([words(...OPTIONS, "start", ID)]);
});

test("a container that does not restore is deleted, and the start fails", () => {
  writeFileSync(failing, "");
  notes.restore(ID, "/x");
  const { status, stdout } = spawnSync(runtime, [...OPTIONS, "start", ID], { encoding: "utf8" });
  expect(status).toBe(1);
  expect(stdout).toContain(" restore ".trim());
  expect(notes.taken(ID)).toBe(true);
});

test("the engine's harmless signal saves where a note says so, and no other signal does", () => {
  notes.save(ID, "/sleep/x");
  expect(run(...OPTIONS, "kill", ID, "9")).toEqual([words(...OPTIONS, "kill", ID, "9")]);
  expect(run(...OPTIONS, "start", ID)).toEqual([words(...OPTIONS, "start", ID)]);
  notes.save(ID, "/sleep/x");
  const save = ["checkpoint", "--image-path", "/sleep/x", "--exclude-committed-zero-pages"];
  expect(run(...OPTIONS, "kill", ID, "18")).toEqual([words(...OPTIONS, ...save, ID)]);
});

test("a note for another container is none for this one", () => {
  notes.restore("f".repeat(64), "/x");
  expect(run(...OPTIONS, "start", ID)).toEqual([words(...OPTIONS, "start", ID)]);
  expect(notes.taken("f".repeat(64))).toBe(false);
});
