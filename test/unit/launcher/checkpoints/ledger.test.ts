import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ledger } from "../../../../gateway/launcher/checkpoints/ledger.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kernelyard-ledger-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test("who lost variables is told why, also by the next launcher, until there is nothing to lose", () => {
  new Ledger(directory).awake("a", "s1");
  expect(new Ledger(directory).whyLost("a")).toContain("restarted");
  new Ledger(directory).lost("a", "it exited", "s2");
  expect(new Ledger(directory).whyLost("a")).toContain("restarted");
  new Ledger(directory).lost("a", "it exited", "s1");
  expect(new Ledger(directory).whyLost("a")).toBe("it exited");
  new Ledger(directory).forget("a");
  expect(new Ledger(directory).whyLost("a")).toBeNull();
});

/** Stands for a full disk: nothing can be put in the place of the entry. A full one refuses the same way, by an error. */
function nothingCanBeWritten(volume: string): void {
  rmSync(join(directory, volume), { recursive: true, force: true });
  mkdirSync(join(directory, volume, "in the way"), { recursive: true });
}

test("a full disk hides no reason, and leaves no earlier one to be told", () => {
  const ledger = new Ledger(directory);
  ledger.awake("a", "s1");
  nothingCanBeWritten("a");
  ledger.lost("a", "its state could not be saved", "s1");
  nothingCanBeWritten("a");
  ledger.lost("a", "its state could not be saved");
  expect([ledger.whyLost("a"), ledger.untold("a")]).toEqual(Array(2).fill("its state could not be saved"));
  rmSync(join(directory, "a"), { recursive: true });
  ledger.awake("a", "s2");
  expect(ledger.untold("a")).toBeNull();
  expect(new Ledger(directory).whyLost("a")).toContain("restarted");
});
