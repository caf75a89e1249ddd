/** Prometheus takes the committed rules, and every alert fires by its example and not by its opposite. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { RULES_FILE, ruleTests } from "../../../monitoring/rules.ts";
import { promtool } from "./promtool.ts";

const FOLDER = join(import.meta.dirname, "../../../monitoring");

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "ky-rules-"));
  onTestFinished(() => rmSync(made, { recursive: true }));
  writeFileSync(join(made, "test.yaml"), ruleTests());
  return made;
}

it("the configuration and its rules are Prometheus' own", () => {
  const { ok, said } = promtool("check", "config", join(FOLDER, "prometheus.yaml"));
  expect(said).toMatch(/SUCCESS: \d+ rules found/);
  expect(ok).toBe(true);
});

it("every alert fires by its example, and is quiet by its opposite", () => {
  const at = folder();
  copyFileSync(join(FOLDER, RULES_FILE), join(at, RULES_FILE));
  const { ok, said } = promtool("test", "rules", join(at, "test.yaml"));
  expect(ok, said).toBe(true);
});

it("a rule that asks for something else is noticed", () => {
  const at = folder();
  const rules = readFileSync(join(FOLDER, RULES_FILE), "utf8");
  const broken = rules.replace("kernelyard_launcher_up == 0", "kernelyard_launcher_up == 1");
  expect(broken).not.toBe(rules);
  writeFileSync(join(at, RULES_FILE), broken);
  const { ok, said } = promtool("test", "rules", join(at, "test.yaml"));
  expect(ok).toBe(false);
  expect(said).toContain("alertname: KernelyardLauncherAway");
});
